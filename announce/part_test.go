// SPDX-License-Identifier: Apache-2.0

package announce_test

import (
	"net/netip"
	"testing"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/table"
)

// twoPeers returns two nodes with two peers, an advertisement with a probe for the first one and
// one without for the second. The probe fails on n1.
func twoPeers(t *testing.T) (options func() announce.Options, decide func(announce.Options) announce.Desired) {
	s, m := twoNodes(t)
	s.Nodes[0].Drain = s.Nodes[1].Drain
	probe := config.Probe{Protocol: config.ProbeTCP}
	one := s.Config.Peers[0]
	two := one
	two.Name, two.Address = "two", one.Address.Next()
	s.Config.Peers = []config.Peer{one, two}
	s.Config.BGPAdvertisements = []config.BGPAdvertisement{
		{Name: "probed", AggregationLength: 32, AggregationLengthV6: 128, Peers: []string{one.Name}, Scope: config.Scope{Probe: probe}},
		{Name: "rest", AggregationLength: 32, AggregationLengthV6: 128, Peers: []string{two.Name}},
	}
	for i := range m.Members {
		if m.Members[i].Node == "n2" {
			m.Members[i] = announcetest.Sends("n2", "two", "192.0.2.1")
		}
	}
	id := announce.ProbeID{ServiceAddr: announce.ServiceAddr{Service: "ns/a", Addr: netip.MustParseAddr("192.0.2.1")}, Probe: probe}
	return func() announce.Options {
			return announce.Options{Members: m, Readiness: announce.Readiness{Failing: map[announce.ProbeID]string{id: "refused"}}}
		}, func(opts announce.Options) announce.Desired {
			return announce.BGP(s, "n1", opts)
		}
}

// networksOf returns the routes of a configuration.
func networksOf(c render.Config) announce.Networks {
	return table.Of(func(yield func(netip.Prefix, *render.Class) bool) {
		for _, n := range c.Networks {
			if !yield(n.Prefix, &c.Classes[n.Class]) {
				return
			}
		}
	})
}

// A node takes note of the neighbors that are not to get a route any more only if they do now,
// and another node is to send it to them.
func TestParted(t *testing.T) {
	options, decide := twoPeers(t)
	opts := options()
	opts.Announces = func(netip.Addr) bool { return true }
	both := options()
	both.Readiness.Failing = nil
	opts.Sends = networksOf(decide(both).BGP)
	addr := netip.MustParseAddr("192.0.2.1")
	d := decide(opts)
	parts := d.Parted[addr]
	if len(d.Parted) != 1 || len(parts) != 1 || parts[0].Peer == "two" || parts[0].Succession.Confirmed || !parts[0].Succession.Brief || len(d.Decisions[0].Peers) != 1 {
		t.Errorf("parted %+v, %+v", d.Parted, d.Decisions)
	}
	opts.Sends = networksOf(d.BGP)
	if d := decide(opts); len(d.Parted) > 0 {
		t.Errorf("of a route that the neighbor does not get: %+v", d.Parted)
	}
	opts.Sends = networksOf(decide(both).BGP)
	opts.Members.Disabled = true
	if d := decide(opts); len(d.Parted) > 0 {
		t.Errorf("without gossip: %+v", d.Parted)
	}
}

// The first decisions of an agent go on with a route as FRR was found to announce it, to all
// neighbors.
func TestResumesNeighbors(t *testing.T) {
	options, decide := twoPeers(t)
	opts := options()
	opts.Readiness.Failing = nil
	both := decide(opts).BGP
	opts = options()
	for name, want := range map[string]int{render.RouteMap(both.Classes[0]): 2, "herald-class-other": 1, "": 1} {
		opts.Resumes = func(netip.Prefix) string { return name }
		d := decide(opts)
		if got := len(d.BGP.Classes[d.BGP.Networks[0].Class].Attributes); got != want {
			t.Errorf("with route-map %q: %d neighbors, want %d", name, got, want)
		}
	}
}
