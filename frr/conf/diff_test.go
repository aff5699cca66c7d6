// SPDX-License-Identifier: Apache-2.0

package conf_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/status"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestDiff(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "diff", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no test cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parts := make(map[string]*txtar.File)
			for i := range a.Files {
				parts[a.Files[i].Name] = &a.Files[i]
			}
			running := conf.Parse(string(parts["running"].Data))
			wanted := conf.Parse(string(parts["wanted"].Data))

			var got strings.Builder
			for _, c := range conf.Diff(running, wanted) {
				got.WriteString(c.String())
				if c.Down != (status.PeerID{}) {
					got.WriteString(", if " + c.Down.String() + " is down")
				}
				got.WriteString("\n")
			}
			if *update {
				parts["commands"].Data = []byte(got.String())
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(parts["commands"].Data), got.String()); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
			if again := conf.Diff(wanted, wanted); len(again) > 0 {
				t.Errorf("from the wanted to the wanted: %v", again)
			}
		})
	}
}

// Some changes of a neighbor reset its session, and the commands say why.
func TestDiffResets(t *testing.T) {
	const running = `router bgp 64512
 neighbor 192.0.2.1 remote-as 64513
 neighbor 192.0.2.1 password old
 neighbor 192.0.2.2 remote-as 64513
 neighbor 192.0.2.2 password old
 neighbor 192.0.2.3 remote-as 64513
 neighbor 192.0.2.3 ttl-security hops 1
 neighbor eth1 interface remote-as external
exit
`
	tests := []struct {
		name, old, new, want string
	}{
		{"another password", "192.0.2.1 password old", "192.0.2.1 password new", "192.0.2.1: its password changes"},
		{"no password any more", " neighbor 192.0.2.1 password old\n", "", "192.0.2.1: its password changes"},
		{"another port", "192.0.2.2 remote-as 64513\n", "192.0.2.2 remote-as 64513\n neighbor 192.0.2.2 port 1179\n", "192.0.2.2: its port changes"},
		{"other timers", "192.0.2.2 remote-as 64513\n", "192.0.2.2 remote-as 64513\n neighbor 192.0.2.2 timers 3 9\n", ""},
		{"TTL security", "192.0.2.2 remote-as 64513\n", "192.0.2.2 remote-as 64513\n neighbor 192.0.2.2 ttl-security hops 1\n", "192.0.2.2: its TTL security changes"},
		{"no TTL security any more", " neighbor 192.0.2.3 ttl-security hops 1\n", "", "192.0.2.3: its TTL security changes"},
		{"more hops", "hops 1", "hops 2", ""},
		{"TTL security on an interface", "remote-as external\n", "remote-as external\n neighbor eth1 ttl-security hops 1\n", "eth1: its TTL security changes"},
		{"gone", " neighbor 192.0.2.2 remote-as 64513\n neighbor 192.0.2.2 password old\n", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, c := range conf.Diff(conf.Parse(running), conf.Parse(strings.Replace(running, tt.old, tt.new, 1))) {
				if c.Resets != "" {
					got = append(got, c.Resets+": "+c.Reason)
				}
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, "\n")); diff != "" {
				t.Errorf("resets (-want +got):\n%s", diff)
			}
		})
	}
}
