// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"encoding/json"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/status"
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
	f.Add([]byte(`{"default":{"":{}}}`))
	f.Add([]byte(`{"prefix":"192.0.2.1/32","advertisedTo":{"":{}}}`))
	f.Add([]byte(`{"advertisedRoutes":{"":{}}}`))
	f.Add([]byte(`[{"peer":"","interface":"eth0"}]`))
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
		nobody := func(id status.PeerID) bool {
			return !id.Address.IsValid() && (id.Interface == "" || id.Interface == netip.Addr{}.String())
		}
		if peers, err := frr.DecodeAdvertisedTo(text, "red", netip.MustParsePrefix("192.0.2.1/32")); err == nil && slices.ContainsFunc(peers, nobody) {
			t.Fatalf("sent to nobody: %v", peers)
		}
		if bfd, err := frr.DecodeBFD(text); err == nil && slices.ContainsFunc(slices.Collect(maps.Keys(bfd)), nobody) {
			t.Fatalf("BFD with nobody: %v", bfd)
		}
	})
}

// FuzzCounters reads FRR's answers about counters. Each session is there once, by what
// metrics name it, or a scrape would fail. In the sums nothing is lost.
func FuzzCounters(f *testing.F) {
	for _, v := range []string{"testdata/frr-8.4.4", "testdata/frr-10.3"} {
		var texts [][]byte
		for _, name := range []string{"vrf-neighbors.json", "bfd-counters.json", "vrf-bfd.json"} {
			text, err := os.ReadFile(filepath.Join(v, name))
			if err != nil {
				f.Fatal(err)
			}
			texts = append(texts, text)
		}
		f.Add(texts[0], texts[1], texts[2])
	}
	const link = `[{"peer":"fe80::1%eth0","interface":"eth0","session-up":1},{"peer":"fe80::1","interface":"eth0","session-up":2}]`
	f.Add([]byte(`{"default":{"eth0":{"addressFamilyInfo":{"x":null}},"vrfId":0}}`), []byte(link), []byte(`[{"status":"up"},null]`))
	f.Fuzz(func(t *testing.T, neighbors, counters, states []byte) {
		type name struct{ vrf, peer string }
		seen := map[name]bool{}
		sessions, _ := frr.DecodeBGPCounters(neighbors)
		for _, s := range sessions {
			n := name{s.VRF, s.Peer}
			if seen[n] || s.Peer == "" {
				t.Errorf("%v is there twice, or is nobody", n)
			}
			seen[n] = true
		}
		clear(seen)
		sums, err := frr.DecodeBFDCounters(counters, states)
		var ups uint64
		for _, s := range sums {
			n := name{s.VRF, s.Name()}
			if seen[n] || !s.Peer.IsValid() {
				t.Errorf("BFD: %v is there twice, or is nobody", n)
			}
			seen[n] = true
			ups += s.UpEvents
		}
		var raw []struct {
			Peer netip.Addr `json:"peer"`
			Up   uint64     `json:"session-up"`
		}
		if err == nil && json.Unmarshal(counters, &raw) == nil {
			for _, r := range raw {
				if r.Peer.IsValid() {
					ups -= r.Up
				}
			}
			if ups != 0 {
				t.Errorf("%d events are lost", -ups)
			}
		}
	})
}
