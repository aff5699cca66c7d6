// SPDX-License-Identifier: Apache-2.0

package handover_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/status"
)

// peersOf returns the last bytes of the addresses of the peers that get the route of an address,
// and of those that the decision names.
func peersOf(out handover.Outcome, addr netip.Addr) (get string, say []string) {
	for _, n := range out.BGP.Networks {
		if n.Prefix.Contains(addr) {
			for _, a := range out.BGP.Classes[n.Class].Attributes {
				get += string('0' + a.Neighbor.Address.As4()[3])
			}
		}
	}
	for _, d := range out.Decisions {
		if d.Addr == addr && d.Protocol == status.BGP {
			say = d.Peers
		}
	}
	return get, say
}

// An advertisement that ends for this node takes the route from its peers only once another node
// has sent it to them, though another advertisement goes on with the address.
func TestMemoryParts(t *testing.T) {
	probe := config.Probe{Protocol: config.ProbeTCP}
	for _, tt := range []struct {
		name string
		ad   config.Scope // of the advertisement for r1
		end  func(x *switching)
		soon time.Duration // how long r1 keeps the route once another node has sent it
	}{
		{
			name: "its probe fails", ad: config.Scope{Probe: probe}, soon: 500 * time.Millisecond,
			end: func(x *switching) {
				x.failing = map[announce.ProbeID]string{{ServiceAddr: announce.ServiceAddr{Service: "ns/a", Addr: x.addr}, Probe: probe}: "refused"}
			},
		},
		{
			name: "it does not select the node", ad: config.Scope{NodeSelectors: announcetest.Selects(t, "rack", "a")}, soon: time.Second,
			end: func(x *switching) {
				n := *x.s.Nodes[0]
				n.Labels = map[string]string{"rack": "b"}
				x.s.Nodes = slices.Clone(x.s.Nodes)
				x.s.Nodes[0] = &n
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newSwitching(t)
			x.sent = true
			for _, n := range x.s.Nodes {
				n.Labels = map[string]string{"rack": "a"}
			}
			x.s.Config.L2Advertisements = nil
			x.s.Config.Peers = nil
			for i := range 2 {
				x.s.Config.Peers = append(x.s.Config.Peers, config.Peer{Name: "r" + string(rune('1'+i)), MyASN: 1, PeerASN: 2, Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})})
			}
			x.s.Config.BGPAdvertisements = []config.BGPAdvertisement{
				{Name: "one", AggregationLength: 32, Peers: []string{"r1"}, Scope: tt.ad},
				{Name: "two", AggregationLength: 32, Peers: []string{"r2"}},
			}
			others := func(peer string) {
				x.m.Members = []announce.Member{{Node: "n1"}, announcetest.Sends("n2", peer, x.addr.String(), "192.0.2.77")}
			}
			others("r2")
			steps := []struct {
				name   string
				change func()
				want   string // the peers with a route
				asks   bool
			}{
				{"both get it", func() {}, "12", false},
				{"the end of one", func() { tt.end(x) }, "12", true},
				{"a minute later", func() { x.now = x.now.Add(time.Minute) }, "12", true},
				{"another node has sent it", func() { others("r1") }, "12", true},
				{"nearly in time", func() { x.now = x.now.Add(tt.soon - 1) }, "12", true},
				{"in time", func() { x.now = x.now.Add(1) }, "2", false},
				{"an hour later", func() { x.now = x.now.Add(time.Hour) }, "2", false},
			}
			for _, step := range steps {
				step.change()
				out, _ := x.next(t)
				get, say := peersOf(out, x.addr)
				if get != step.want || out.Ask != step.asks || len(say) != len(step.want) {
					t.Errorf("%s: peers %s, said %v, asks %t; want %s, %t", step.name, get, say, out.Ask, step.want, step.asks)
				}
				if tells := strings.Contains(out.Decisions[0].Detail, "peer r1 gets the route until another node sends it"); tells != step.asks {
					t.Errorf("%s: %q", step.name, out.Decisions[0].Detail)
				}
				if len(out.GivenUp) > 0 {
					t.Errorf("%s: given up %v", step.name, out.GivenUp)
				}
			}
		})
	}
}

// A peer to which no other node sends the route loses it in the end, and that is said.
func TestMemoryPartsGivesUp(t *testing.T) {
	x := newSwitching(t)
	x.sent = true
	x.s.Config.L2Advertisements = nil
	x.s.Config.Peers = append(x.s.Config.Peers, config.Peer{Name: "r2", MyASN: 1, PeerASN: 2, Address: netip.MustParseAddr("10.0.0.2")})
	advertise := func(value string) {
		c := *x.s.Config
		c.BGPAdvertisements = []config.BGPAdvertisement{
			{Name: "one", AggregationLength: 32, Peers: []string{"r"}, Scope: config.Scope{NodeSelectors: announcetest.Selects(t, "rack", value)}},
			{Name: "two", AggregationLength: 32, Peers: []string{"r2"}},
		}
		x.s.Config = &c
	}
	for i, rack := range []string{"a", "b", "b"} {
		x.s.Nodes[i].Labels = map[string]string{"rack": rack}
	}
	x.m.Members = []announce.Member{{Node: "n1"}, announcetest.Sends("n2", "r2", "192.0.2.1")}
	advertise("a")
	x.next(t)
	advertise("b")
	if out, _ := x.next(t); len(out.GivenUp) > 0 {
		t.Errorf("given up at once: %v", out.GivenUp)
	}
	x.now = x.now.Add(handover.DefaultTimes.Leave)
	out, _ := x.next(t)
	if get, _ := peersOf(out, x.addr); get != "2" || !slices.Contains(out.GivenUp, x.addr) {
		t.Errorf("in the end peers %s, given up %v", get, out.GivenUp)
	}
}

// A route that no other advertisement has stays in the same way, though another route of the
// address does.
func TestMemoryPartsRoute(t *testing.T) {
	x := newSwitching(t)
	x.sent = true
	probe := config.Probe{Protocol: config.ProbeTCP}
	x.s.Config.L2Advertisements = nil
	x.s.Config.BGPAdvertisements = []config.BGPAdvertisement{
		{Name: "one", AggregationLength: 32, Scope: config.Scope{Probe: probe}},
		{Name: "two", AggregationLength: 28},
	}
	x.m.Members = []announce.Member{{Node: "n1"}, {Node: "n2", Answered: true}}
	const both, one = "route to 192.0.2.0/28, route to 192.0.2.1/32", "route to 192.0.2.0/28"
	is := func(when, want string, routes int) {
		t.Helper()
		out, got := x.next(t)
		if got != want || len(out.Decisions[0].Routes) != routes {
			t.Errorf("%s: %q, %v, want %q", when, got, out.Decisions[0].Routes, want)
		}
	}
	is("announced", both, 2)
	x.failing = map[announce.ProbeID]string{{ServiceAddr: announce.ServiceAddr{Service: "ns/a", Addr: x.addr}, Probe: probe}: "refused"}
	is("the probe fails", both, 2)
	x.now = x.now.Add(time.Minute)
	is("a minute later", both, 2)
	x.m.Members = []announce.Member{{Node: "n1"}, announcetest.Sends("n2", "r", "192.0.2.1")}
	is("another node has sent it", both, 2)
	x.now = x.now.Add(time.Second)
	is("a second later", one, 1)
}
