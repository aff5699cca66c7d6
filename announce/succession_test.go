// SPDX-License-Identifier: Apache-2.0

package announce_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

// A node that is not selected any more goes on with what it has announced while
// others are to announce it and were not seen to. What nobody is to announce, or it
// cannot serve, goes at once.
func TestLeave(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*cluster.Snapshot, *announce.Membership)
		want announce.Succession // zero: none
	}{
		{"all is as before", func(*cluster.Snapshot, *announce.Membership) {}, announce.Succession{}},
		{
			"advertised from the other, which has sent it",
			func(s *cluster.Snapshot, _ *announce.Membership) {
				s.Config.BGPAdvertisements[0].NodeSelectors = announcetest.Selects(t, "rack", "b")
			},
			announce.Succession{Due: true, Able: true, Confirmed: true},
		},
		{
			"advertised from the other, which has not",
			func(s *cluster.Snapshot, m *announce.Membership) {
				s.Config.BGPAdvertisements[0].NodeSelectors = announcetest.Selects(t, "rack", "b")
				m.Members[1].Sent = nil
			},
			announce.Succession{Due: true, Able: true, Detail: "no other node's session that carries it is up: n2"},
		},
		{
			"advertised from the other, which has no agent",
			func(s *cluster.Snapshot, m *announce.Membership) {
				s.Config.BGPAdvertisements[0].NodeSelectors = announcetest.Selects(t, "rack", "b")
				m.Members = m.Members[:1]
			},
			announce.Succession{Due: true, Detail: "no other announces the address"},
		},
		{
			"who is alive is not known",
			func(s *cluster.Snapshot, m *announce.Membership) {
				s.Config.BGPAdvertisements[0].NodeSelectors = announcetest.Selects(t, "rack", "b")
				m.Stale = true
			},
			announce.Succession{Due: true, Detail: "which other nodes are alive is not known"},
		},
		{
			"nobody watches who is alive",
			func(s *cluster.Snapshot, m *announce.Membership) {
				s.Config.BGPAdvertisements[0].NodeSelectors = announcetest.Selects(t, "rack", "b")
				*m = announce.Membership{Disabled: true}
			},
			announce.Succession{},
		},
		{
			"advertised from no node",
			func(s *cluster.Snapshot, _ *announce.Membership) {
				s.Config.BGPAdvertisements[0].NodeSelectors = announcetest.Selects(t, "rack", "c")
			},
			announce.Succession{},
		},
		{
			"not advertised",
			func(s *cluster.Snapshot, _ *announce.Membership) { s.Config.BGPAdvertisements = nil },
			announce.Succession{},
		},
		{
			"advertised from the other, but there are no endpoints",
			func(s *cluster.Snapshot, _ *announce.Membership) {
				s.Config.BGPAdvertisements[0].NodeSelectors = announcetest.Selects(t, "rack", "b")
				s.Endpoints = nil
			},
			announce.Succession{},
		},
		{
			"a local Service, whose endpoints are all here",
			func(s *cluster.Snapshot, _ *announce.Membership) {
				s.Config.BGPAdvertisements[0].NodeSelectors = announcetest.Selects(t, "rack", "b")
				s.Services[0].Local = true
			},
			announce.Succession{},
		},
		{
			"a local Service with endpoints on the other, which has sent other routes",
			func(s *cluster.Snapshot, m *announce.Membership) {
				s.Config.BGPAdvertisements[0].NodeSelectors = announcetest.Selects(t, "rack", "b")
				s.Services[0].Local = true
				s.Endpoints[s.Services[0].Key] = []cluster.Endpoint{{Node: "n1"}, {Node: "n2"}}
				m.Members[1] = announcetest.Sends("n2", "in", "192.0.2.9")
			},
			announce.Succession{Due: true, Able: true, Detail: "no route of it was sent yet from n2"},
		},
		{
			"excluded by its label",
			func(s *cluster.Snapshot, _ *announce.Membership) {
				s.Nodes[0].Labels[announce.LabelExcludeNode] = ""
			},
			announce.Succession{Due: true, Able: true, Confirmed: true},
		},
		{
			"its network is down",
			func(s *cluster.Snapshot, _ *announce.Membership) { s.Nodes[0].NetworkUnavailable = true },
			announce.Succession{},
		},
		{
			"all peers are for the other: there is nobody left to tell",
			func(s *cluster.Snapshot, _ *announce.Membership) {
				for i := range s.Config.Peers {
					s.Config.Peers[i].NodeSelectors = announcetest.Selects(t, "rack", "b")
				}
			},
			announce.Succession{},
		},
		{
			"advertised to a peer of the other",
			func(s *cluster.Snapshot, m *announce.Membership) {
				far := s.Config.Peers[0]
				far.Name, far.Address, far.NodeSelectors = "far", netip.MustParseAddr("10.10.1.253"), announcetest.Selects(t, "rack", "b")
				s.Config.Peers = append(s.Config.Peers, far)
				s.Config.BGPAdvertisements[0].Peers = []string{"far"}
				m.Members[1] = announcetest.Sends("n2", "far", "192.0.2.1")
			},
			announce.Succession{Due: true, Able: true, Confirmed: true},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := netip.MustParseAddr("192.0.2.1")
			for _, announced := range []bool{true, false} {
				s, m := twoNodes(t)
				s.Nodes[0].Drain = cluster.Drain{}
				tt.edit(&s, &m)
				d := announce.BGP(s, "n1", announce.Options{Members: m, Announces: func(netip.Addr) bool { return announced }})
				want := map[netip.Addr]announce.Succession{addr: tt.want}
				if !announced || tt.want == (announce.Succession{}) {
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
	nothing := func(*cluster.Snapshot, *announce.Membership) {}
	silent := func(_ *cluster.Snapshot, m *announce.Membership) { m.Members[1].Sent = nil }
	alone := func(_ *cluster.Snapshot, m *announce.Membership) { m.Members = m.Members[:1] }
	for _, tt := range []struct {
		name     string
		edit     func(*cluster.Snapshot, *announce.Membership)
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
		d := announce.BGP(s, "n1", announce.Options{
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
