// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/heraldlb/herald/frr"
)

// FuzzDecode reads FRR's answers as each of the questions whose answer they might be.
// None may panic, and none may report a peer that does not exist.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/frr-*/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("%d recorded answers, %v", len(files), err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"default":{"10.0.0.1":null}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if sessions, err := frr.DecodeSessions(text); err == nil {
			for _, s := range sessions {
				if !s.Peer.Address.IsValid() && s.Peer.Interface == "" {
					t.Fatalf("a session with nobody: %+v", s)
				}
			}
		}
		if prefixes, err := frr.DecodeAdvertised(text); err == nil {
			for p := range prefixes {
				if !p.IsValid() {
					t.Fatal("an invalid prefix")
				}
			}
		}
		_, _ = frr.DecodeAdvertisedTo(text, "red", netip.MustParsePrefix("192.0.2.1/32"))
		_, _ = frr.DecodeBFD(text)
	})
}
