// SPDX-License-Identifier: Apache-2.0

package announce_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/cluster/clustertest"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
)

// owners decides on every node, and returns which nodes announce each address.
func owners(s cluster.Snapshot, m announce.Membership, opts announce.Options) map[string][]string {
	out := map[string][]string{}
	for _, n := range s.Nodes {
		for _, l := range announce.Layer2(s, n.Name, m, opts).Announce {
			out[l.Addr.String()] = append(out[l.Addr.String()], n.Name)
		}
	}
	return out
}

func TestAnnounceLayer2(t *testing.T) {
	const addr = "192.0.2.1"
	winner := announce.Owner(addr, []string{"n1", "n2", "n3"})
	second := announce.Owner(addr, slices.DeleteFunc([]string{"n1", "n2", "n3"}, func(n string) bool { return n == winner }))
	third := announce.Owner(addr, slices.DeleteFunc([]string{"n1", "n2", "n3"}, func(n string) bool { return n == winner || n == second }))
	member := func(m *announce.Membership, name string) *announce.Member {
		i := slices.IndexFunc(m.Members, func(m announce.Member) bool { return m.Node == name })
		return &m.Members[i]
	}
	node := func(s *cluster.Snapshot, name string) *cluster.Node {
		i := slices.IndexFunc(s.Nodes, func(n *cluster.Node) bool { return n.Name == name })
		return s.Nodes[i]
	}
	type change func(*testing.T, *cluster.Snapshot, *announce.Membership)
	tests := []struct {
		name   string
		change change
		opts   announce.Options
		owner  string                   // empty: nobody
		why    map[string]status.Reason // on these nodes, of the Service ns/a
	}{
		{
			name:  "the winner of all",
			owner: winner,
			why:   map[string]status.Reason{winner: status.Announced, second: status.NotOwner},
		},
		{
			name: "the winner is dead",
			change: func(_ *testing.T, _ *cluster.Snapshot, m *announce.Membership) {
				m.Members = slices.DeleteFunc(m.Members, func(m announce.Member) bool { return m.Node == winner })
			},
			owner: second,
		},
		{
			name: "the winner stops soon",
			change: func(_ *testing.T, _ *cluster.Snapshot, m *announce.Membership) {
				member(m, winner).Leaving = true
			},
			owner: second,
			why:   map[string]status.Reason{winner: status.NodeLeaving},
		},
		{
			name: "all stop soon",
			change: func(_ *testing.T, _ *cluster.Snapshot, m *announce.Membership) {
				for i := range m.Members {
					m.Members[i].Leaving = true
				}
			},
			owner: winner,
		},
		{
			name: "the winner drains",
			change: func(_ *testing.T, s *cluster.Snapshot, _ *announce.Membership) {
				node(s, winner).Drain.Since = began
			},
			owner: second,
			why:   map[string]status.Reason{winner: status.NodeDraining},
		},
		{
			name: "all drain",
			change: func(_ *testing.T, s *cluster.Snapshot, _ *announce.Membership) {
				for _, n := range s.Nodes {
					n.Drain.Since = began
				}
			},
			owner: winner,
			why:   map[string]status.Reason{winner: status.Announced},
		},
		{
			name: "all drain, the winner by force",
			change: func(_ *testing.T, s *cluster.Snapshot, _ *announce.Membership) {
				for _, n := range s.Nodes {
					n.Drain.Since = began
				}
				node(s, winner).Drain.Force = true
			},
			owner: second,
			why:   map[string]status.Reason{winner: status.NodeDraining, second: status.Announced},
		},
		{
			name: "all drain by force",
			change: func(_ *testing.T, s *cluster.Snapshot, _ *announce.Membership) {
				for _, n := range s.Nodes {
					n.Drain = cluster.Drain{Since: began, Force: true}
				}
			},
			why: map[string]status.Reason{winner: status.NodeDraining, second: status.NodeDraining},
		},
		{
			name: "the winner is damped",
			change: func(_ *testing.T, _ *cluster.Snapshot, m *announce.Membership) {
				member(m, winner).Damped = true
			},
			owner: second,
			why:   map[string]status.Reason{winner: status.NodeDamped, second: status.Announced, third: status.NotOwner},
		},
		{
			name: "its endpoints come and go, and another node has it",
			change: func(_ *testing.T, _ *cluster.Snapshot, m *announce.Membership) {
				member(m, second).Held = []netip.Addr{netip.MustParseAddr(addr)}
			},
			opts: announce.Options{Damped: map[announce.Announcement]bool{{Service: "ns/a", Addr: netip.MustParseAddr(addr), Protocol: status.Layer2}: true}},
			why:  map[string]status.Reason{winner: status.EndpointsFlap},
		},
		{
			name:  "its endpoints come and go, and nobody else has it",
			opts:  announce.Options{Damped: map[announce.Announcement]bool{{Service: "ns/a", Addr: netip.MustParseAddr(addr), Protocol: status.Layer2}: true}},
			owner: winner,
			why:   map[string]status.Reason{winner: status.Announced},
		},
		{
			name: "most are damped, so that the network is to blame",
			change: func(_ *testing.T, _ *cluster.Snapshot, m *announce.Membership) {
				member(m, winner).Damped, member(m, third).Damped = true, true
			},
			owner: winner,
		},
		{
			name: "the one that is not damped stops soon",
			change: func(_ *testing.T, _ *cluster.Snapshot, m *announce.Membership) {
				m.Members = slices.DeleteFunc(m.Members, func(m announce.Member) bool { return m.Node == third })
				member(m, winner).Damped, member(m, second).Leaving = true, true
			},
			owner: winner,
		},
		{
			name: "without gossip every Node counts",
			change: func(_ *testing.T, _ *cluster.Snapshot, m *announce.Membership) {
				*m = announce.Membership{Disabled: true}
			},
			owner: winner,
		},
		{
			name: "nobody knows who is alive",
			change: func(_ *testing.T, _ *cluster.Snapshot, m *announce.Membership) {
				m.Stale = true
			},
			why: map[string]status.Reason{winner: status.MembersUnknown, second: status.MembersUnknown},
		},
		{
			name: "the winner has the exclude label",
			change: func(_ *testing.T, s *cluster.Snapshot, _ *announce.Membership) {
				node(s, winner).Labels = map[string]string{announce.LabelExcludeNode: ""}
			},
			owner: second,
			why:   map[string]status.Reason{winner: status.NodeExcluded},
		},
		{
			name: "the exclude label is ignored",
			change: func(_ *testing.T, s *cluster.Snapshot, _ *announce.Membership) {
				node(s, winner).Labels = map[string]string{announce.LabelExcludeNode: ""}
			},
			opts:  announce.Options{IgnoreExcludeLB: true},
			owner: winner,
		},
		{
			name: "the winner's network is unavailable",
			change: func(_ *testing.T, s *cluster.Snapshot, _ *announce.Membership) {
				node(s, winner).NetworkUnavailable = true
			},
			owner: second,
			why:   map[string]status.Reason{winner: status.NodeNetworkDown},
		},
		{
			name: "no advertisement selects the Service",
			change: func(t *testing.T, s *cluster.Snapshot, _ *announce.Membership) {
				s.Config.L2Advertisements[0].ServiceSelectors = announcetest.Selects(t, "app", "other")
			},
			why: map[string]status.Reason{winner: status.NoAdvertisement},
		},
		{
			name: "only n1 is selected",
			change: func(t *testing.T, s *cluster.Snapshot, _ *announce.Membership) {
				s.Config.L2Advertisements[0].NodeSelectors = announcetest.Selects(t, "rack", "a")
			},
			owner: "n1",
			why:   map[string]status.Reason{"n1": status.Announced, "n2": status.NodeNotSelected},
		},
		{
			name: "only the third has the interface",
			change: func(_ *testing.T, s *cluster.Snapshot, m *announce.Membership) {
				s.Config.L2Advertisements[0].Interfaces = []string{"eth1", "eth9"}
				member(m, third).Interfaces = []string{"eth0", "eth1"}
			},
			owner: third,
			why:   map[string]status.Reason{winner: status.NoInterface},
		},
		{
			name: "the winner has no suitable interface at all",
			change: func(_ *testing.T, _ *cluster.Snapshot, m *announce.Membership) {
				member(m, winner).Interfaces = nil
			},
			owner: second,
			why:   map[string]status.Reason{winner: status.NoInterface},
		},
		{
			name: "no usable endpoint",
			change: func(_ *testing.T, s *cluster.Snapshot, _ *announce.Membership) {
				clear(s.Endpoints)
			},
			why: map[string]status.Reason{winner: status.NoEndpoints},
		},
		{
			name: "endpoints of the other family alone",
			change: func(_ *testing.T, s *cluster.Snapshot, _ *announce.Membership) {
				s.Endpoints[s.Services[0].Key] = []cluster.Endpoint{{Node: "n1", IPv6: true}}
			},
			why: map[string]status.Reason{winner: status.NoEndpoints},
		},
		{
			name: "traffic stays local, the third has the endpoint",
			change: func(_ *testing.T, s *cluster.Snapshot, _ *announce.Membership) {
				s.Services[0].Local = true
				s.Endpoints[s.Services[0].Key] = []cluster.Endpoint{{Node: third}}
			},
			owner: third,
			why:   map[string]status.Reason{winner: status.NoLocalEndpoints, third: status.Announced},
		},
		{
			name: "shared with a Service that only the second may announce",
			change: func(_ *testing.T, s *cluster.Snapshot, _ *announce.Membership) {
				announcetest.AddService(s, "b", true, []string{addr}, second)
			},
			owner: second,
			why:   map[string]status.Reason{winner: status.NotOwner, second: status.Announced},
		},
		{
			name: "shared with a Service that has no endpoint",
			change: func(_ *testing.T, s *cluster.Snapshot, _ *announce.Membership) {
				announcetest.AddService(s, "b", false, []string{addr})
			},
			owner: winner,
		},
		{
			name: "shared, and no node may announce both",
			change: func(_ *testing.T, s *cluster.Snapshot, _ *announce.Membership) {
				s.Services[0].Local = true
				s.Endpoints[s.Services[0].Key] = []cluster.Endpoint{{Node: third}}
				announcetest.AddService(s, "b", true, []string{addr}, second)
			},
			owner: second,
			why:   map[string]status.Reason{second: status.NoLocalEndpoints, third: status.NotOwner},
		},
		{
			name: "shared, and who may announce both is dead",
			change: func(_ *testing.T, s *cluster.Snapshot, m *announce.Membership) {
				announcetest.AddService(s, "b", true, []string{addr}, second)
				m.Members = slices.DeleteFunc(m.Members, func(m announce.Member) bool { return m.Node == second })
			},
			owner: winner,
		},
		{
			name: "the Service has another class",
			change: func(_ *testing.T, s *cluster.Snapshot, _ *announce.Membership) {
				s.Services[0].Class = "example.com/other"
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, m := announcetest.Layer2Cluster(t)
			announcetest.AddService(&s, "a", false, []string{addr}, "n1")
			if tt.change != nil {
				tt.change(t, &s, &m)
			}
			want := map[string][]string{}
			if tt.owner != "" {
				want[addr] = []string{tt.owner}
			}
			if diff := cmp.Diff(want, owners(s, m, tt.opts)); diff != "" {
				t.Errorf("owners (-want +got):\n%s", diff)
			}
			for name, reason := range tt.why {
				d := announce.Layer2(s, name, m, tt.opts)
				if got := d.Decisions[0]; got.Reason != reason || got.Announce != (reason == status.Announced) {
					t.Errorf("on %s: %+v, want %s", name, got, reason)
				}
			}
		})
	}
}

func TestLayer2Announcement(t *testing.T) {
	s, m := announcetest.Layer2Cluster(t)
	s.Config.L2Advertisements = []config.L2Advertisement{
		{Name: "x", Interfaces: []string{"eth1", "eth0"}, Scope: config.Scope{NodeSelectors: announcetest.Selects(t, "rack", "a")}},
		{Name: "y", Interfaces: []string{"eth9", "eth0"}, Scope: config.Scope{NodeSelectors: announcetest.Selects(t, "rack", "a")}},
		{Name: "z", Scope: config.Scope{NodeSelectors: announcetest.Selects(t, "rack", "a"), ServiceSelectors: announcetest.Selects(t, "app", "everywhere")}},
	}
	announcetest.AddService(&s, "a", false, []string{"192.0.2.1", "2001:db8::1", "192.0.2.1"}, "n2")
	announcetest.AddService(&s, "everywhere", false, []string{"192.0.2.2", "203.0.113.1", "host.example"}, "n2")
	m.Members[0].Held = []netip.Addr{netip.MustParseAddr("2001:db8::1")}
	m.Members[2].Held = m.Members[0].Held
	m.Departed = []announce.Member{{Node: "n9", Held: []netip.Addr{netip.MustParseAddr("192.0.2.2")}}}
	d := announce.Layer2(s, "n1", m, announce.Options{})
	want := []announce.Ownership{
		{Addr: netip.MustParseAddr("192.0.2.1"), Interfaces: []string{"eth0", "eth1", "eth9"}, Fresh: true},
		{Addr: netip.MustParseAddr("192.0.2.2")},
		{Addr: netip.MustParseAddr("2001:db8::1"), Interfaces: []string{"eth0", "eth1", "eth9"}, Rivals: []string{"n3"}},
	}
	if diff := cmp.Diff(want, d.Announce, clustertest.Values); diff != "" {
		t.Errorf("announcements (-want +got):\n%s", diff)
	}
	m.Members[0].Held = append(m.Members[0].Held, want[0].Addr)
	if again := announce.Layer2(s, "n1", m, announce.Options{}); !again.Announce[0].Fresh {
		t.Error("an address that this node alone has announced is no longer fresh")
	}
	if !d.HandedOver(want[2].Addr) || d.HandedOver(want[0].Addr) {
		t.Errorf("handed over: %v of %v", d.Held, d.Owners)
	}
	d = announce.Layer2(s, "n2", m, announce.Options{})
	no := status.Decision{Service: "ns/a", Addr: want[0].Addr, Pool: "web", Protocol: status.Layer2, Reason: status.NodeNotSelected, Detail: "the owner is n1"}
	if diff := cmp.Diff(no, d.Decisions[0], clustertest.Values); diff != "" {
		t.Errorf("decision on n2 (-want +got):\n%s", diff)
	}
}

// One node says of an address that none can answer for: the one that would.
func TestLayer2NoInterface(t *testing.T) {
	s, m := announcetest.Layer2Cluster(t)
	addr := netip.MustParseAddr("192.0.2.1")
	announcetest.AddService(&s, "a", false, []string{addr.String()}, "n2")
	lacking := func(want ...string) {
		t.Helper()
		var got []string
		for _, n := range s.Nodes {
			d := announce.Layer2(s, n.Name, m, announce.Options{})
			if slices.Contains(d.NoInterface, addr) {
				got = append(got, n.Name)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("nodes that say so (-want +got):\n%s", diff)
		}
	}
	lacking()
	ad := &s.Config.L2Advertisements[0]
	ad.Interfaces = []string{"eth9"}
	winner := announce.Owner(addr.String(), []string{"n1", "n2", "n3"})
	lacking(winner)
	ad.NodeSelectors = announcetest.Selects(t, "rack", "a")
	lacking("n1")
	m.Members[0].Interfaces = []string{"eth0", "eth9"}
	lacking()
	m.Members[0].Interfaces = nil
	m.Stale = true
	lacking()
	m.Stale = false
	lacking("n1")
	s.Services[0].Local = true // n1 has no endpoint of it
	lacking()
}

// TestLayer2Agrees shows in random clusters that all agents with the same view
// agree, that nobody is elected who may not announce, and that 500 addresses
// are spread.
func TestLayer2Agrees(t *testing.T) {
	s, m := announcetest.Layer2Cluster(t)
	addr := netip.MustParseAddr("192.0.2.0")
	for i := range 250 {
		announcetest.AddService(&s, fmt.Sprintf("s%03d", i), false, []string{addr.String()}, "n2")
		addr = addr.Next()
	}
	count := map[string]int{}
	for a, names := range owners(s, m, announce.Options{}) {
		if len(names) != 1 || names[0] != announce.Owner(a, []string{"n1", "n2", "n3"}) {
			t.Fatalf("%s is announced by %v", a, names)
		}
		count[names[0]]++
	}
	if len(count) != 3 || count["n1"]+count["n2"]+count["n3"] != 250 {
		t.Errorf("owned: %v", count)
	}
}

func TestLayer2WithoutConfiguration(t *testing.T) {
	s, m := announcetest.Layer2Cluster(t)
	announcetest.AddService(&s, "a", false, []string{"192.0.2.1"}, "n1")
	s.Config = nil
	d := announce.Layer2(s, "n1", m, announce.Options{})
	if diff := cmp.Diff(announce.DesiredLayer2{}, d, clustertest.Values); diff != "" {
		t.Errorf("desired (-want +got):\n%s", diff)
	}
}

// BenchmarkAnnounceLayer2 measures one pass over that many Services in one pool.
func BenchmarkAnnounceLayer2(b *testing.B) {
	for _, size := range []struct{ nodes, services int }{{3, 1000}, {3, 10000}, {100, 10000}} {
		b.Run(fmt.Sprintf("%d-%d", size.nodes, size.services), func(b *testing.B) {
			s := bigCluster(b, size.services)
			s.Config.L2Advertisements = []config.L2Advertisement{{Name: "pool"}}
			s.Nodes = nil
			var m announce.Membership
			for i := range size.nodes {
				s.Nodes = append(s.Nodes, &cluster.Node{Name: fmt.Sprintf("n%03d", i)})
				m.Members = append(m.Members, announce.Member{Node: s.Nodes[i].Name, Interfaces: []string{"eth0"}})
			}
			b.ReportAllocs()
			for b.Loop() {
				if d := announce.Layer2(s, "n001", m, announce.Options{}); len(d.Decisions) != size.services {
					b.Fatalf("%d decisions", len(d.Decisions))
				}
			}
		})
	}
}
