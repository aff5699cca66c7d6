// SPDX-License-Identifier: Apache-2.0

package announce_test

import (
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/kube/object"
	"github.com/heraldlb/herald/status"
)

var began = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func TestDrainText(t *testing.T) {
	for _, d := range []cluster.Drain{
		{Since: began}, {Since: began, Force: true}, {Since: began, Hold: 90 * time.Second}, {Since: began, Hold: time.Hour, Force: true},
	} {
		got, err := cluster.ParseDrain(d.String())
		if err != nil || got != d {
			t.Errorf("%q: got %v, %v", d.String(), got, err)
		}
	}
	for _, text := range []string{
		"", "true", "force", "0001-01-01T00:00:00Z", "2026-05-01T12:00:00Z now", "2026-05-01T12:00:00Z force force",
		"2026-05-01T12:00:00Z hold=", "2026-05-01T12:00:00Z hold=soon", "2026-05-01T12:00:00Z hold=999ms", "2026-05-01T12:00:00Z hold=61m",
		"2026-05-01T12:00:00Z hold=-5s", "2026-05-01T12:00:00Z hold=5s hold=6s",
	} {
		if got, err := cluster.ParseDrain(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func TestNodeDrain(t *testing.T) {
	for value, want := range map[string]cluster.Drain{
		"2026-05-01T12:00:00Z":                    {Since: began},
		"2026-05-01T14:00:00+02:00 force hold=5s": {Since: began, Hold: 5 * time.Second, Force: true},
		"yes, please":                             {},
	} {
		n := object.FromNode(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{cluster.AnnotationDrain: value}}})
		if !n.Drain.Since.Equal(want.Since) || n.Drain.Hold != want.Hold || n.Drain.Force != want.Force {
			t.Errorf("%q: got %v, want %v", value, n.Drain, want)
		}
		if (n.DrainError != "") != n.Drain.IsZero() {
			t.Errorf("%q: the error is %q", value, n.DrainError)
		}
	}
	// Cordoning a node is about its pods.
	n := object.FromNode(&corev1.Node{Spec: corev1.NodeSpec{Unschedulable: true, Taints: []corev1.Taint{{Key: corev1.TaintNodeUnschedulable}}}})
	if !n.Drain.IsZero() || n.DrainError != "" || n.NetworkUnavailable {
		t.Errorf("a cordoned node: %+v", n)
	}
}

// twoNodes are a cluster of which n1 drains, and the route of the one Service was
// seen to be sent from n2.
func twoNodes(t *testing.T) (cluster.Snapshot, announce.Membership) {
	t.Helper()
	r, err := config.ParseRange("192.0.2.0/24")
	if err != nil {
		t.Fatal(err)
	}
	key := cluster.Key{Namespace: "ns", Name: "a"}
	s := cluster.Snapshot{
		Config: &config.Config{
			Pools: []config.Pool{{Name: "web", Addresses: []config.Range{r}}},
			Peers: []config.Peer{
				{Name: "in", MyASN: 64512, PeerASN: 64512, Address: netip.MustParseAddr("10.10.0.253")},
				{Name: "six", MyASN: 64512, PeerASN: 64512, Address: netip.MustParseAddr("fd00::1")},
			},
			BGPAdvertisements: []config.BGPAdvertisement{{LocalPref: 150}},
		},
		Nodes: []*cluster.Node{
			{Name: "n1", Labels: map[string]string{"rack": "a"}, Drain: cluster.Drain{Since: began}},
			{Name: "n2", Labels: map[string]string{"rack": "b"}},
		},
		Services:  []*cluster.Service{{Key: key, LoadBalancer: true, Ingress: []string{"192.0.2.1"}}},
		Endpoints: map[cluster.Key][]cluster.Endpoint{key: {{Node: "n1"}}},
	}
	return s, announce.Membership{Members: []announce.Member{{Node: "n1"}, announcetest.Sends("n2", "in", "192.0.2.1")}}
}

// drained is what node n1 of two decides while it drains, before it has asked for
// other paths for long enough, or after. Edit changes the cluster before.
func drained(t *testing.T, over bool, edit func(*cluster.Snapshot, *announce.Membership)) announce.Desired {
	t.Helper()
	s, m := twoNodes(t)
	edit(&s, &m)
	return announce.BGP(s, "n1", announce.Options{Members: m, Drained: over})
}

func TestDrain(t *testing.T) {
	const (
		last    = "the node drains, but no other announces the address"
		unknown = "the node drains, but which other nodes are alive is not known"
	)
	tests := []struct {
		name   string
		over   bool
		edit   func(*cluster.Snapshot, *announce.Membership)
		routes int
		reason status.Reason
		detail string
	}{
		{name: "asks for other paths at first", routes: 1, reason: status.Announced},
		{name: "then withdraws", over: true, reason: status.NodeDraining},
		{
			name: "not as the only node", over: true, routes: 1, reason: status.Announced, detail: last,
			edit: func(s *cluster.Snapshot, _ *announce.Membership) { s.Nodes = s.Nodes[:1] },
		},
		{
			name: "not if the other began to drain before", over: true, routes: 1, reason: status.Announced, detail: last,
			edit: func(s *cluster.Snapshot, _ *announce.Membership) {
				s.Nodes[1].Drain = cluster.Drain{Since: began.Add(-time.Minute)}
			},
		},
		{
			name: "if the other began to drain later", over: true, reason: status.NodeDraining,
			edit: func(s *cluster.Snapshot, _ *announce.Membership) { s.Nodes[1].Drain = cluster.Drain{Since: began} },
		},
		{
			name: "not if the other is forced to", over: true, routes: 1, reason: status.Announced, detail: last,
			edit: func(s *cluster.Snapshot, _ *announce.Membership) {
				s.Nodes[1].Drain = cluster.Drain{Since: began.Add(time.Minute), Force: true}
			},
		},
		{
			name: "not while the other is excluded", over: true, routes: 1, reason: status.Announced, detail: last,
			edit: func(s *cluster.Snapshot, _ *announce.Membership) {
				s.Nodes[1].Labels[announce.LabelExcludeNode] = ""
			},
		},
		{
			name: "not if the other has no endpoint of a local Service", over: true, routes: 1, reason: status.Announced, detail: last,
			edit: func(s *cluster.Snapshot, _ *announce.Membership) { s.Services[0].Local = true },
		},
		{
			name: "if the other has one", over: true, reason: status.NodeDraining,
			edit: func(s *cluster.Snapshot, _ *announce.Membership) {
				s.Services[0].Local = true
				s.Endpoints[s.Services[0].Key] = []cluster.Endpoint{{Node: "n1"}, {Node: "n2"}}
			},
		},
		{
			name: "not if no advertisement selects the other", over: true, routes: 1, reason: status.Announced, detail: last,
			edit: func(s *cluster.Snapshot, _ *announce.Membership) {
				s.Config.BGPAdvertisements[0].NodeSelectors = announcetest.Selects(t, "rack", "a")
			},
		},
		{
			name: "not if the other has no peer for it", over: true, routes: 1, reason: status.Announced, detail: last,
			edit: func(s *cluster.Snapshot, _ *announce.Membership) {
				s.Config.Peers[0].NodeSelectors = announcetest.Selects(t, "rack", "a")
			},
		},
		{
			name: "not if the other has no agent", over: true, routes: 1, reason: status.Announced, detail: last,
			edit: func(_ *cluster.Snapshot, m *announce.Membership) { m.Members = m.Members[:1] },
		},
		{
			name: "not if the other's agent stops", over: true, routes: 1, reason: status.Announced, detail: last,
			edit: func(_ *cluster.Snapshot, m *announce.Membership) { m.Members[1].Leaving = true },
		},
		{
			name: "not if the other has sent nothing", over: true, routes: 1, reason: status.Announced,
			detail: "the node drains, but no other node's session that carries it is up: n2",
			edit:   func(_ *cluster.Snapshot, m *announce.Membership) { m.Members[1].Sent = nil },
		},
		{
			name: "asks for other paths all the while", routes: 1, reason: status.Announced,
			detail: "the node drains, but no other node's session that carries it is up: n2",
			edit:   func(_ *cluster.Snapshot, m *announce.Membership) { m.Members[1].Sent = nil },
		},
		{
			name: "not if the other has sent other routes", over: true, routes: 1, reason: status.Announced,
			detail: "the node drains, but no route of it was sent yet from n2",
			edit: func(_ *cluster.Snapshot, m *announce.Membership) {
				m.Members[1] = announcetest.Sends("n2", "in", "192.0.2.0", "192.0.2.2")
			},
		},
		{
			name: "not if the other has sent it to a peer that it is not for", over: true, routes: 1, reason: status.Announced,
			detail: "the node drains, but no route of it was sent yet from n2",
			edit: func(_ *cluster.Snapshot, m *announce.Membership) {
				m.Members[1] = announcetest.Sends("n2", "gone", "192.0.2.1")
			},
		},
		{
			name: "not if the other does not answer, as agents of the version before", over: true, routes: 1, reason: status.Announced,
			detail: "the node drains, but no answer yet from n2",
			edit:   func(_ *cluster.Snapshot, m *announce.Membership) { m.Members[1] = announce.Member{Node: "n2"} },
		},
		{
			name: "not if none of several has sent it", over: true, routes: 1, reason: status.Announced,
			detail: "the node drains, but no other node's session that carries it is up: n2, n3, n4 and 1 more; no route of it was sent yet from n6; no answer yet from n7",
			edit: func(s *cluster.Snapshot, m *announce.Membership) {
				m.Members = []announce.Member{{Node: "n1"}, announcetest.Sends("n2", "in"), announcetest.Sends("n3", "in"), announcetest.Sends("n4", "in"), announcetest.Sends("n5", "in"),
					announcetest.Sends("n6", "in", "192.0.2.7"), {Node: "n7"}}
				s.Nodes = append(s.Nodes, &cluster.Node{Name: "n3"}, &cluster.Node{Name: "n4"}, &cluster.Node{Name: "n5"}, &cluster.Node{Name: "n6"}, &cluster.Node{Name: "n7"})
			},
		},
		{
			name: "if one of several has sent it", over: true, reason: status.NodeDraining,
			edit: func(s *cluster.Snapshot, m *announce.Membership) {
				m.Members = append([]announce.Member{{Node: "n1"}, announcetest.Sends("n2", "in")}, announcetest.Sends("n3", "in", "192.0.2.1"))
				s.Nodes = append(s.Nodes, &cluster.Node{Name: "n3"})
			},
		},
		{
			name: "what the other has not sent, by force", over: true, reason: status.NodeDraining,
			edit: func(s *cluster.Snapshot, m *announce.Membership) {
				m.Members[1].Sent, s.Nodes[0].Drain.Force = nil, true
			},
		},
		{
			name: "not while who is alive is not known", over: true, routes: 1, reason: status.Announced, detail: unknown,
			edit: func(_ *cluster.Snapshot, m *announce.Membership) { m.Stale = true },
		},
		{
			name: "not if nobody watches who is alive", over: true, routes: 1, reason: status.Announced, detail: unknown,
			edit: func(_ *cluster.Snapshot, m *announce.Membership) { *m = announce.Membership{Disabled: true} },
		},
		{
			name: "without knowing who is alive, by force", over: true, reason: status.NodeDraining,
			edit: func(s *cluster.Snapshot, m *announce.Membership) {
				s.Nodes[0].Drain.Force, *m = true, announce.Membership{Disabled: true}
			},
		},
		{
			name: "the only node, by force", over: true, reason: status.NodeDraining,
			edit: func(s *cluster.Snapshot, _ *announce.Membership) {
				s.Nodes = s.Nodes[:1]
				s.Nodes[0].Drain.Force = true
			},
		},
		{
			name: "what could not be announced anyway", over: true, reason: status.NoEndpoints,
			edit: func(s *cluster.Snapshot, _ *announce.Membership) { s.Endpoints = nil },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.edit == nil {
				tt.edit = func(*cluster.Snapshot, *announce.Membership) {}
			}
			d := drained(t, tt.over, tt.edit)
			got := d.Decisions[0]
			if len(d.BGP.Networks) != tt.routes || got.Announce != (tt.routes > 0) || got.Reason != tt.reason || got.Detail != tt.detail || got.Last != (tt.detail != "") {
				t.Errorf("%d routes, want %d; decision %+v", len(d.BGP.Networks), tt.routes, got)
			}
			for _, c := range d.BGP.Classes {
				for _, a := range c.Attributes {
					if !a.GracefulShutdown {
						t.Errorf("%s is not asked for another path", a.Neighbor)
					}
				}
			}
			if len(d.BGP.Neighbors) != 2 && tt.name != "not if the other has no peer for it" {
				t.Errorf("sessions: %v", d.BGP.Neighbors)
			}
		})
	}
}

// Layer 2 goes to a node that does not drain, as long as there is one.
func TestDrainLayer2(t *testing.T) {
	s, m := announcetest.Layer2Cluster(t)
	key := cluster.Key{Namespace: "ns", Name: "a"}
	addr := netip.MustParseAddr("192.0.2.1")
	s.Services = []*cluster.Service{{Key: key, LoadBalancer: true, Ingress: []string{addr.String()}}}
	s.Endpoints[key] = []cluster.Endpoint{{Node: "n1"}}
	owner := func() string { return announce.Layer2(s, "n1", m, announce.Options{}).Owners[addr] }
	drain := func(name string) {
		for _, n := range s.Nodes {
			if name == "" || n.Name == name {
				n.Drain = cluster.Drain{Since: began}
			}
		}
	}
	first := owner()
	drain(first)
	if second := owner(); second == first || second == "" {
		t.Errorf("%s of %s went to %q when that drained", addr, first, second)
	}
	if d := announce.Layer2(s, first, m, announce.Options{}).Decisions[0]; d.Announce || d.Reason != status.NodeDraining {
		t.Errorf("decision of the node that drains: %+v", d)
	}
	drain("")
	if got := owner(); got != first {
		t.Errorf("when all nodes drain the owner is %q, want %q as when none does", got, first)
	}
}
