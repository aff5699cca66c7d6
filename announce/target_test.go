// SPDX-License-Identifier: Apache-2.0

package announce_test

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/port"
)

// A node probes what it may announce, and nothing else.
func TestTargets(t *testing.T) {
	probe := config.Probe{Protocol: config.ProbeTCP, Interval: time.Second}
	tests := []struct {
		name string
		edit func(*cluster.Snapshot)
		want *announce.Target // without what all have
	}{
		{"the first TCP port", func(*cluster.Snapshot) {}, &announce.Target{Port: 443, Share: 1}},
		{"no probe", func(s *cluster.Snapshot) { s.Config.BGPAdvertisements[0].Probe = config.Probe{} }, nil},
		{"a port that the Service lacks", func(s *cluster.Snapshot) { s.Config.BGPAdvertisements[0].Probe.Port = 444 }, nil},
		{"no endpoints", func(s *cluster.Snapshot) { clear(s.Endpoints) }, nil},
		{"another class", func(s *cluster.Snapshot) { s.Services[0].Class = "other" }, nil},
		{"source ranges", func(s *cluster.Snapshot) { s.Services[0].Restricted = true }, nil},
		{"another node is selected", func(s *cluster.Snapshot) {
			s.Config.BGPAdvertisements[0].NodeSelectors = announcetest.Selects(t, "rack", "b")
		}, nil},
		{"no such peer", func(s *cluster.Snapshot) { s.Config.BGPAdvertisements[0].Peers = []string{"nobody"} }, nil},
		{"the node is excluded", func(s *cluster.Snapshot) { s.Nodes[0].Labels[announce.LabelExcludeNode] = "" }, nil},
		{"affinity", func(s *cluster.Snapshot) { s.Services[0].Affinity = true }, &announce.Target{Port: 443, Share: 1}},
		{"local and affinity", func(s *cluster.Snapshot) { s.Services[0].Affinity, s.Services[0].Local = true, true }, nil},
		{"local", func(s *cluster.Snapshot) { s.Services[0].Local = true }, &announce.Target{Port: 443, Local: true, Share: 1}},
		{"local, on both nodes", func(s *cluster.Snapshot) {
			s.Services[0].Local = true
			s.Endpoints[s.Services[0].Key] = []cluster.Endpoint{{Node: "n1"}, {Node: "n2", More: 2}, {Node: "n1", IPv6: true}}
		}, &announce.Target{Port: 443, Local: true, Share: 0.25}},
		{"local, on the other node", func(s *cluster.Snapshot) {
			s.Services[0].Local = true
			s.Endpoints[s.Services[0].Key] = []cluster.Endpoint{{Node: "n2"}}
		}, nil},
		{"local, and terminating here", func(s *cluster.Snapshot) {
			s.Services[0].Local = true
			s.Endpoints[s.Services[0].Key] = []cluster.Endpoint{{Node: "n1", Terminating: true}, {Node: "n2"}}
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := twoNodes(t)
			s.Config.BGPAdvertisements[0].Probe = probe
			s.Services[0].Ports = port.NewSet(port.Port{Protocol: "UDP", Number: 53}, port.Port{Protocol: "TCP", Number: 443}, port.Port{Protocol: "TCP", Number: 8080})
			tt.edit(&s)
			var m announce.TargetMemory
			var got []announce.Target
			for _, of := range m.Next(cluster.TablesOf(s), "n1", announce.Options{}).All() {
				got = append(got, of...)
			}
			var want []announce.Target
			if tt.want != nil {
				one := *tt.want
				one.ProbeID = announce.ProbeID{ServiceAddr: announce.ServiceAddr{Service: "ns/a", Addr: netip.MustParseAddr("192.0.2.1")}, Probe: probe}
				want = append(want, one)
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// A TargetMemory finds the same as one that knows nothing, whatever happened before.
func TestTargetMemory(t *testing.T) {
	found := 0
	for seed := range uint64(20) {
		h := announcetest.NewHistory(t, seed, seed%4 == 0)
		h.Options.Layer2 = true
		var m announce.TargetMemory
		for step := range 60 {
			h.Step()
			s := cluster.TablesOf(h.Snapshot())
			var fresh announce.TargetMemory
			want := maps.Collect(fresh.Next(s, "n2", h.Options).All())
			got := maps.Collect(m.Next(s, "n2", h.Options).All())
			if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b announce.Target) bool { return a == b })); diff != "" {
				t.Fatalf("seed %d, step %d (-fresh +memory):\n%s", seed, step, diff)
			}
			found += len(got)
		}
	}
	if found < 100 {
		t.Errorf("%d Services were probed: the histories are too simple", found)
	}
}
