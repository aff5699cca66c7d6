// SPDX-License-Identifier: Apache-2.0

package announce_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/port"
	"github.com/heraldlb/herald/status"
)

// What the data plane does not serve yet is not announced. What is announced goes on.
func TestReadiness(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.1")
	id := announce.ServiceAddr{Service: "ns/a", Addr: addr}
	waits := announce.Readiness{Waits: map[announce.ServiceAddr]string{id: "503"}}
	announces := func(is bool) func(netip.Addr) bool { return func(netip.Addr) bool { return is } }
	tests := []struct {
		name string
		opts announce.Options
		want status.Decision
	}{
		{"nothing is known", announce.Options{}, status.Decision{Announce: true, Reason: status.Announced}},
		{"it waits", announce.Options{Readiness: waits}, status.Decision{Reason: status.DataPlaneNotReady, Detail: "503"}},
		{"it waits, and is not announced", announce.Options{Readiness: waits, Announces: announces(false)}, status.Decision{Reason: status.DataPlaneNotReady, Detail: "503"}},
		{"it waits, but is announced", announce.Options{Readiness: waits, Announces: announces(true)}, status.Decision{Announce: true, Reason: status.Announced}},
		{
			"it has waited long enough", announce.Options{Readiness: announce.Readiness{Waived: map[announce.ServiceAddr]string{id: "503"}}},
			status.Decision{Announce: true, Reason: status.Announced, Detail: "503"},
		},
		{
			"another Service waits", announce.Options{Readiness: announce.Readiness{Waits: map[announce.ServiceAddr]string{{Service: "ns/b", Addr: addr}: "503"}}},
			status.Decision{Announce: true, Reason: status.Announced},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, m := twoNodes(t)
			s.Nodes[0].Drain = cluster.Drain{}
			opts := tt.opts
			opts.Members = m
			bgp := announce.BGP(s, "n1", opts)
			layer2, lm := announcetest.Layer2Cluster(t)
			lm.Members = lm.Members[:1]
			announcetest.AddService(&layer2, "a", true, []string{addr.String()}, "n1")
			l := announce.Layer2(layer2, "n1", lm, tt.opts)
			ignore := cmpopts.IgnoreFields(status.Decision{}, "Service", "Addr", "Pool", "Protocol", "Routes", "Peers")
			for _, got := range []status.Decision{bgp.Decisions[0], l.Decisions[0]} {
				if diff := cmp.Diff(tt.want, got, ignore); diff != "" {
					t.Errorf("%s (-want +got):\n%s", got.Protocol, diff)
				}
			}
			if len(bgp.BGP.Networks) == 1 != tt.want.Announce || len(l.Announce) == 1 != tt.want.Announce {
				t.Errorf("routes %v, answers %v", bgp.BGP.Networks, l.Announce)
			}
			if l.Owners[addr] != "n1" {
				t.Errorf("the owner is %q: all nodes are to elect the same", l.Owners[addr])
			}
		})
	}
}

// On layer 2 an address is announced as soon as one of the Services that share it is
// served.
func TestReadinessShared(t *testing.T) {
	s, m := announcetest.Layer2Cluster(t)
	m.Members = m.Members[:1]
	announcetest.AddService(&s, "a", true, []string{"192.0.2.1"}, "n1")
	announcetest.AddService(&s, "b", true, []string{"192.0.2.1"}, "n1")
	a := announce.ServiceAddr{Service: "ns/a", Addr: netip.MustParseAddr("192.0.2.1")}
	opts := announce.Options{Readiness: announce.Readiness{Waits: map[announce.ServiceAddr]string{a: "503"}}}
	if d := announce.Layer2(s, "n1", m, opts); len(d.Announce) != 1 {
		t.Errorf("answers %v", d.Announce)
	}
}

func TestQuestions(t *testing.T) {
	s, _ := announcetest.Layer2Cluster(t)
	announcetest.AddService(&s, "cluster", false, []string{"192.0.2.1"}, "n1")
	announcetest.AddService(&s, "here", true, []string{"192.0.2.2", "2001:db8::2", "web.example.com"}, "n1", "n2")
	announcetest.AddService(&s, "there", true, []string{"192.0.2.3"}, "n2")
	announcetest.AddService(&s, "elsewhere", true, []string{"198.51.100.1"}, "n1")
	announcetest.AddService(&s, "terminates", true, []string{"192.0.2.4"}, "n1")
	for i := range s.Services {
		s.Services[i].HealthPort = uint16(30000 + i)
		s.Services[i].Ports = port.NewSet(
			port.Port{Protocol: "UDP", Number: 53}, port.Port{Protocol: "TCP", Number: 443}, port.Port{Protocol: "TCP", Number: 80}, port.Port{Protocol: "TCP", Number: 8080})
	}
	s.Services[2].Restricted = true
	key := s.Services[4].Key
	s.Endpoints[key] = []cluster.Endpoint{{Node: "n1", Terminating: true}}
	about := func(name, addr string, port uint16, here bool, tcp ...uint16) announce.Question {
		return announce.Question{ServiceAddr: announce.ServiceAddr{Service: "ns/" + name, Addr: netip.MustParseAddr(addr)}, HealthPort: port, TCP: tcp, Here: here}
	}
	want := []announce.Question{
		about("here", "192.0.2.2", 30001, true, 80, 443), about("here", "2001:db8::2", 30001, true, 80, 443),
		about("there", "192.0.2.3", 30002, false), about("terminates", "192.0.2.4", 30004, false, 80, 443),
	}
	if diff := cmp.Diff(append([]announce.Question{about("cluster", "192.0.2.1", 30000, true, 80, 443)}, want...),
		announce.Questions(s, "n1", announce.Options{AskAll: true}), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("about all (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, announce.Questions(s, "n1", announce.Options{}), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A node whose endpoints all terminate leaves the route to a node with a ready one, if
// that is alive, and goes on until it has sent it.
func TestEndpointsTerminate(t *testing.T) {
	const addr = "192.0.2.1"
	both := []cluster.Endpoint{{Node: "n1", Terminating: true}, {Node: "n2"}}
	tests := []struct {
		name      string
		endpoints []cluster.Endpoint
		edit      func(s *cluster.Snapshot, m *announce.Membership)
		announces bool // before
		reason    status.Reason
		left      bool
		confirmed bool
	}{
		{"the other has sent it", both, nil, true, status.EndpointsTerminating, true, true},
		{"the other has not", both, func(_ *cluster.Snapshot, m *announce.Membership) { m.Members[1].Sent = nil }, true, status.EndpointsTerminating, true, false},
		{"this one did not announce it", both, nil, false, status.EndpointsTerminating, false, false},
		{"the other has no agent", both, func(_ *cluster.Snapshot, m *announce.Membership) { m.Members = m.Members[:1] }, true, status.Announced, false, false},
		{
			"the other may not announce it", both,
			func(s *cluster.Snapshot, _ *announce.Membership) { s.Nodes[1].NetworkUnavailable = true },
			true, status.Announced, false, false,
		},
		{"the other's terminate too", []cluster.Endpoint{{Node: "n1", Terminating: true}, {Node: "n2", Terminating: true}}, nil, true, status.Announced, false, false},
		{"the other's are of the other family", []cluster.Endpoint{{Node: "n1", Terminating: true}, {Node: "n2", IPv6: true}}, nil, true, status.Announced, false, false},
		{"the ready one is on no node", []cluster.Endpoint{{}, {Node: "n1", Terminating: true}}, nil, true, status.Announced, false, false},
		{
			"traffic may leave the node", both, func(s *cluster.Snapshot, _ *announce.Membership) { s.Services[0].Local = false },
			true, status.Announced, false, false,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, m := twoNodes(t)
			s.Nodes[0].Drain = cluster.Drain{}
			s.Services[0].Local = true
			s.Endpoints[s.Services[0].Key] = tt.endpoints
			if tt.edit != nil {
				tt.edit(&s, &m)
			}
			d := announce.BGP(s, "n1", announce.Options{Members: m, Announces: func(netip.Addr) bool { return tt.announces }})
			left, is := d.Left[netip.MustParseAddr(addr)]
			if got := d.Decisions[0]; got.Reason != tt.reason || is != tt.left || left.Confirmed != tt.confirmed {
				t.Errorf("%+v, left %t %+v", got, is, left)
			}
			// An agent that starts does not know what the one before it announced.
			if got := announce.BGP(s, "n1", announce.Options{Members: m}).Decisions[0]; !got.Announce {
				t.Errorf("at the start: %+v", got)
			}
		})
	}
}

// On layer 2 a node with a ready endpoint is elected before those whose endpoints
// terminate.
func TestLayer2EndpointsTerminate(t *testing.T) {
	const addr = "192.0.2.1"
	winner := announce.Owner(addr, []string{"n1", "n2"})
	loser := map[string]string{"n1": "n2", "n2": "n1"}[winner]
	tests := []struct {
		name      string
		endpoints []cluster.Endpoint
		dead      string
		want      string
	}{
		{"both are ready", []cluster.Endpoint{{Node: "n1"}, {Node: "n2"}}, "", winner},
		{"one terminates", []cluster.Endpoint{{Node: winner, Terminating: true}, {Node: loser}}, "", loser},
		{"both do", []cluster.Endpoint{{Node: "n1", Terminating: true}, {Node: "n2", Terminating: true}}, "", winner},
		{"the other is dead", []cluster.Endpoint{{Node: winner, Terminating: true}, {Node: loser}}, loser, winner},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, m := announcetest.Layer2Cluster(t)
			announcetest.AddService(&s, "a", true, []string{addr})
			s.Endpoints[s.Services[0].Key] = tt.endpoints
			var members []announce.Member
			for _, one := range m.Members {
				if one.Node != tt.dead {
					members = append(members, one)
				}
			}
			m.Members = members
			if got := announce.Layer2(s, "n3", m, announce.Options{}).Owners[netip.MustParseAddr(addr)]; got != tt.want {
				t.Errorf("the owner is %q, want %q", got, tt.want)
			}
		})
	}
}

// An advertisement applies to Services with enough ready endpoints, on all nodes together.
// Another one may go on.
func TestMinReady(t *testing.T) {
	enough := []cluster.Endpoint{{Node: "n1", More: 1}, {Node: "n2"}}
	few := []cluster.Endpoint{{Node: "n1", More: 1}, {Node: "n2", Terminating: true}, {Node: "n2", IPv6: true, More: 7}}
	tests := []struct {
		name      string
		endpoints []cluster.Endpoint
		local     bool
		other     bool // another advertisement asks for nothing
		want      status.Reason
	}{
		{"enough", enough, false, false, status.Announced},
		{"enough, and traffic stays local", enough, true, false, status.Announced},
		{"too few", few, false, false, status.TooFewEndpoints},
		{"too few, and traffic stays local", few, true, false, status.TooFewEndpoints},
		{"too few for one of two", few, false, true, status.Announced},
		{"none", nil, false, true, status.NoEndpoints},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, m := twoNodes(t)
			s.Nodes[0].Drain = cluster.Drain{}
			s.Services[0].Local = tt.local
			s.Endpoints[s.Services[0].Key] = tt.endpoints
			s.Config.BGPAdvertisements[0].MinReady = 3
			s.Config.BGPAdvertisements[0].Name = "strict"
			bgp := func() status.Decision { return announce.BGP(s, "n1", announce.Options{Members: m}).Decisions[0] }
			if tt.other {
				s.Config.BGPAdvertisements = append(s.Config.BGPAdvertisements, s.Config.BGPAdvertisements[0])
				s.Config.BGPAdvertisements[1].MinReady = 0
			}
			l2, lm := announcetest.Layer2Cluster(t)
			lm.Members = lm.Members[:1]
			announcetest.AddService(&l2, "a", tt.local, []string{"192.0.2.1"})
			l2.Endpoints[l2.Services[0].Key] = tt.endpoints
			l2.Config.L2Advertisements[0].MinReady, l2.Config.L2Advertisements[0].Name = 3, "strict"
			if tt.other {
				l2.Config.L2Advertisements = append(l2.Config.L2Advertisements, l2.Config.L2Advertisements[0])
				l2.Config.L2Advertisements[1].MinReady = 0
			}
			for _, got := range []status.Decision{bgp(), announce.Layer2(l2, "n1", lm, announce.Options{}).Decisions[0]} {
				if got.Reason != tt.want {
					t.Errorf("%s: %+v, want %s", got.Protocol, got, tt.want)
				}
				if few := got.Reason == status.TooFewEndpoints; few != (got.Detail == `advertisement "strict" asks for 3 ready endpoints`) {
					t.Errorf("detail %q", got.Detail)
				}
			}
		})
	}
}
