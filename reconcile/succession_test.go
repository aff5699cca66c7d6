// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
)

// A node that is not selected any more goes on with what it has announced while
// others are to announce it and were not seen to. What nobody is to announce, or it
// cannot serve, goes at once.
func TestLeave(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*reconcile.Snapshot, *reconcile.Membership)
		want reconcile.Succession // zero: none
	}{
		{"all is as before", func(*reconcile.Snapshot, *reconcile.Membership) {}, reconcile.Succession{}},
		{
			"advertised from the other, which has sent it",
			func(s *reconcile.Snapshot, _ *reconcile.Membership) {
				s.Config.BGPAdvertisements[0].NodeSelectors = selects(t, "rack", "b")
			},
			reconcile.Succession{Due: true, Able: true, Confirmed: true},
		},
		{
			"advertised from the other, which has not",
			func(s *reconcile.Snapshot, m *reconcile.Membership) {
				s.Config.BGPAdvertisements[0].NodeSelectors = selects(t, "rack", "b")
				m.Members[1].Sent = nil
			},
			reconcile.Succession{Due: true, Able: true, Detail: "no other node's session that carries it is up: n2"},
		},
		{
			"advertised from the other, which has no agent",
			func(s *reconcile.Snapshot, m *reconcile.Membership) {
				s.Config.BGPAdvertisements[0].NodeSelectors = selects(t, "rack", "b")
				m.Members = m.Members[:1]
			},
			reconcile.Succession{Due: true, Detail: "no other announces the address"},
		},
		{
			"who is alive is not known",
			func(s *reconcile.Snapshot, m *reconcile.Membership) {
				s.Config.BGPAdvertisements[0].NodeSelectors = selects(t, "rack", "b")
				m.Stale = true
			},
			reconcile.Succession{Due: true, Detail: "which other nodes are alive is not known"},
		},
		{
			"nobody watches who is alive",
			func(s *reconcile.Snapshot, m *reconcile.Membership) {
				s.Config.BGPAdvertisements[0].NodeSelectors = selects(t, "rack", "b")
				*m = reconcile.Membership{Disabled: true}
			},
			reconcile.Succession{},
		},
		{
			"advertised from no node",
			func(s *reconcile.Snapshot, _ *reconcile.Membership) {
				s.Config.BGPAdvertisements[0].NodeSelectors = selects(t, "rack", "c")
			},
			reconcile.Succession{},
		},
		{
			"not advertised",
			func(s *reconcile.Snapshot, _ *reconcile.Membership) { s.Config.BGPAdvertisements = nil },
			reconcile.Succession{},
		},
		{
			"advertised from the other, but there are no endpoints",
			func(s *reconcile.Snapshot, _ *reconcile.Membership) {
				s.Config.BGPAdvertisements[0].NodeSelectors = selects(t, "rack", "b")
				s.Endpoints = nil
			},
			reconcile.Succession{},
		},
		{
			"a local Service, whose endpoints are all here",
			func(s *reconcile.Snapshot, _ *reconcile.Membership) {
				s.Config.BGPAdvertisements[0].NodeSelectors = selects(t, "rack", "b")
				s.Services[0].Local = true
			},
			reconcile.Succession{},
		},
		{
			"a local Service with endpoints on the other, which has sent other routes",
			func(s *reconcile.Snapshot, m *reconcile.Membership) {
				s.Config.BGPAdvertisements[0].NodeSelectors = selects(t, "rack", "b")
				s.Services[0].Local = true
				s.Endpoints[s.Services[0].Key] = []reconcile.Endpoint{{Node: "n1"}, {Node: "n2"}}
				m.Members[1] = sends("n2", "in", "192.0.2.9")
			},
			reconcile.Succession{Due: true, Able: true, Detail: "no route of it was sent yet from n2"},
		},
		{
			"excluded by its label",
			func(s *reconcile.Snapshot, _ *reconcile.Membership) {
				s.Nodes[0].Labels[reconcile.LabelExcludeNode] = ""
			},
			reconcile.Succession{Due: true, Able: true, Confirmed: true},
		},
		{
			"its network is down",
			func(s *reconcile.Snapshot, _ *reconcile.Membership) { s.Nodes[0].NetworkUnavailable = true },
			reconcile.Succession{},
		},
		{
			"all peers are for the other: there is nobody left to tell",
			func(s *reconcile.Snapshot, _ *reconcile.Membership) {
				for i := range s.Config.Peers {
					s.Config.Peers[i].NodeSelectors = selects(t, "rack", "b")
				}
			},
			reconcile.Succession{},
		},
		{
			"advertised to a peer of the other",
			func(s *reconcile.Snapshot, m *reconcile.Membership) {
				far := s.Config.Peers[0]
				far.Name, far.Address, far.NodeSelectors = "far", netip.MustParseAddr("10.10.1.253"), selects(t, "rack", "b")
				s.Config.Peers = append(s.Config.Peers, far)
				s.Config.BGPAdvertisements[0].Peers = []string{"far"}
				m.Members[1] = sends("n2", "far", "192.0.2.1")
			},
			reconcile.Succession{Due: true, Able: true, Confirmed: true},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := netip.MustParseAddr("192.0.2.1")
			for _, announced := range []bool{true, false} {
				s, m := twoNodes(t)
				s.Nodes[0].Drain = reconcile.Drain{}
				tt.edit(&s, &m)
				d := reconcile.Announce(s, "n1", reconcile.AnnounceOptions{Members: m, Announces: func(netip.Addr) bool { return announced }})
				want := map[netip.Addr]reconcile.Succession{addr: tt.want}
				if !announced || tt.want == (reconcile.Succession{}) {
					want = nil
				}
				if diff := cmp.Diff(want, d.Left, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
					t.Errorf("announced before: %v: left (-want +got):\n%s", announced, diff)
				}
			}
		})
	}
}

// What a node that drains does not announce it leaves to others for a moment, unless
// there is none that could.
func TestDrainUnseen(t *testing.T) {
	nothing := func(*reconcile.Snapshot, *reconcile.Membership) {}
	silent := func(_ *reconcile.Snapshot, m *reconcile.Membership) { m.Members[1].Sent = nil }
	alone := func(_ *reconcile.Snapshot, m *reconcile.Membership) { m.Members = m.Members[:1] }
	for _, tt := range []struct {
		name     string
		edit     func(*reconcile.Snapshot, *reconcile.Membership)
		overdue  bool
		announce bool
		unseen   int
	}{
		{"others announce it", nothing, false, false, 0},
		{"others are able to", silent, false, false, 1},
		{"others have been able to for long", silent, true, true, 0},
		{"there is no other", alone, false, true, 0},
	} {
		s, m := twoNodes(t)
		tt.edit(&s, &m)
		d := reconcile.Announce(s, "n1", reconcile.AnnounceOptions{
			Members: m, Drained: true,
			Announces: func(netip.Addr) bool { return false },
			Overdue:   func(netip.Addr) bool { return tt.overdue },
		})
		got := d.Decisions[0]
		if got.Announce != tt.announce || got.Last != tt.announce || len(d.Unseen) != tt.unseen || !tt.announce && got.Reason != status.NodeDraining {
			t.Errorf("%s: unseen %v, decision %+v", tt.name, d.Unseen, got)
		}
	}
}

// A node whose route is left to others says so, and withdraws it a moment after one
// of them has sent it.
func TestMemoryLeaves(t *testing.T) {
	x := newSwitching(t)
	x.protocols(true, false)
	x.sent = true
	both := []string{"192.0.2.1", "192.0.2.77"}
	x.m.Members = []reconcile.Member{{Node: "n1"}, sends("n2", "r"), sends("n3", "r")}
	const route = "route to 192.0.2.0/28"
	select3 := func(label, value string) {
		c := *x.s.Config
		c.BGPAdvertisements = []config.BGPAdvertisement{{Name: "b", AggregationLength: 28, NodeSelectors: selects(t, label, value)}}
		x.s.Config = &c
	}
	x.s.Nodes[1].Labels = map[string]string{"rack": "b"}
	steps := []struct {
		name   string
		change func()
		want   string
	}{
		{"announced", func() {}, route},
		{"the advertisement is for another node", func() { select3("rack", "b") }, route + ", bgp HandingOver, bgp HandingOver"},
		{"four minutes later", func() { x.now = x.now.Add(4 * time.Minute) }, route + ", bgp HandingOver, bgp HandingOver"},
		{"that has sent it", func() { x.m.Members[1] = sends("n2", "r", both...) }, route + ", bgp HandingOver, bgp HandingOver"},
		{"a second later", func() { x.now = x.now.Add(time.Second) }, ""},
		{"for this one again", func() { select3("rack", "a") }, route},
		{"for none", func() { select3("rack", "c") }, ""},
	}
	for _, step := range steps {
		step.change()
		out, got := x.next(t)
		if got != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
		for _, d := range out.Decisions {
			if d.Announce && (len(d.Routes) != 1 || len(d.Peers) != 1) {
				t.Errorf("%s: routes %v, peers %v", step.name, d.Routes, d.Peers)
			}
			if step.name == "four minutes later" && d.Detail != "NodeNotSelected, but no other node's session that carries it is up: n2" {
				t.Errorf("%s: detail %q", step.name, d.Detail)
			}
		}
		if ask := len(got) > len(route); out.Ask != ask {
			t.Errorf("%s: asks %v, want %v", step.name, out.Ask, ask)
		}
		if len(out.GivenUp) > 0 {
			t.Errorf("%s: given up %v", step.name, out.GivenUp)
		}
	}
}

// A route that no other node is seen to take goes in the end, and that is said.
func TestMemoryGivesUp(t *testing.T) {
	x := newSwitching(t)
	x.protocols(true, false)
	x.m.Members = []reconcile.Member{{Node: "n1"}, sends("n2", "r")}
	x.next(t)
	x.s.Nodes[0].Labels = map[string]string{reconcile.LabelExcludeNode: ""}
	if _, got := x.next(t); got == "" {
		t.Error("withdrawn at once")
	}
	x.now = x.now.Add(5 * time.Minute)
	if out, got := x.next(t); got != "" || len(out.GivenUp) != 2 {
		t.Errorf("in the end: %q, given up %v", got, out.GivenUp)
	}
}
