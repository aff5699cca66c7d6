// SPDX-License-Identifier: Apache-2.0

package announce_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/cluster/clustertest"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
)

func community(t *testing.T, s string) config.Community {
	t.Helper()
	c, err := config.ParseCommunity(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// decide decides for node n1 of a cluster with the pools 192.0.2.0/24 "web"
// and 198.51.100.0/24 "api", labelled tier=api. Its peers are the internal
// "in", the external "out", and "out6". The Services have the addresses given,
// in the order of their names, and carry their names as the label app.
func decide(t *testing.T, ads []config.BGPAdvertisement, services map[string][]string) announce.Desired {
	t.Helper()
	pool := func(name, addresses string, labels map[string]string) config.Pool {
		r, err := config.ParseRange(addresses)
		if err != nil {
			t.Fatal(err)
		}
		return config.Pool{Name: name, Addresses: []config.Range{r}, Labels: labels}
	}
	s := cluster.Snapshot{
		Config: &config.Config{
			Pools: []config.Pool{
				pool("web", "192.0.2.0/24", nil),
				pool("api", "198.51.100.0/24", map[string]string{"tier": "api"}),
				pool("six", "2001:db8::/112", nil),
			},
			Peers: []config.Peer{
				{Name: "out", MyASN: 64512, PeerASN: 64513, Address: netip.MustParseAddr("10.10.0.254")},
				{Name: "in", MyASN: 64512, PeerASN: 64512, Address: netip.MustParseAddr("10.10.0.253")},
				{Name: "out6", MyASN: 64512, PeerASN: 64513, Address: netip.MustParseAddr("fd00:10::fe")},
			},
			BGPAdvertisements: ads,
		},
		Nodes:     []*cluster.Node{{Name: "n1", Labels: map[string]string{"rack": "a"}}, {Name: "n2"}},
		Endpoints: map[cluster.Key][]cluster.Endpoint{},
	}
	for _, name := range []string{"a", "b", "c"} {
		if services[name] == nil {
			continue
		}
		key := cluster.Key{Namespace: "ns", Name: name}
		s.Services = append(s.Services, &cluster.Service{
			Key:          key,
			LoadBalancer: true,
			Ingress:      services[name],
			Labels:       map[string]string{"app": name},
		})
		s.Endpoints[key] = []cluster.Endpoint{{Node: "n2"}, {Node: "n2", IPv6: true}}
	}
	return announce.BGP(s, "n1", announce.Options{})
}

// paths says what each neighbor is told about each route, as "route to
// neighbor" and the attributes.
func paths(c render.Config) map[string]string {
	out := map[string]string{}
	for _, n := range c.Networks {
		for _, a := range c.Classes[n.Class].Attributes {
			out[fmt.Sprintf("%s to %s", n.Prefix, a.Neighbor)] = fmt.Sprintf("%d %v", a.LocalPref, a.Communities)
		}
	}
	return out
}

func TestAnnounce(t *testing.T) {
	const in, out, out6 = "10.10.0.253", "10.10.0.254", "fd00:10::fe"
	one := func(address string) map[string][]string { return map[string][]string{"a": {address}} }
	// yes and no are decisions about an address over BGP.
	yes := func(service, pool, addr string, peers []string, routes ...string) status.Decision {
		d := status.Decision{
			Service: "ns/" + service, Addr: netip.MustParseAddr(addr), Pool: pool, Protocol: status.BGP,
			Announce: true, Reason: status.Announced, Peers: peers,
		}
		for _, r := range routes {
			d.Routes = append(d.Routes, netip.MustParsePrefix(r))
		}
		return d
	}
	no := func(service, pool, addr string, reason status.Reason) status.Decision {
		return status.Decision{Service: "ns/" + service, Addr: netip.MustParseAddr(addr), Pool: pool, Protocol: status.BGP, Reason: reason}
	}
	both := []string{"in", "out"}
	tests := []struct {
		name      string
		ads       []config.BGPAdvertisement
		services  map[string][]string
		decisions []status.Decision
		details   []string // of the decisions; nil: none
		paths     map[string]string
	}{
		{
			name:      "every peer of the family",
			ads:       []config.BGPAdvertisement{{}},
			services:  one("192.0.2.1"),
			decisions: []status.Decision{yes("a", "web", "192.0.2.1", both, "192.0.2.1/32")},
			paths:     map[string]string{"192.0.2.1/32 to " + in: "0 []", "192.0.2.1/32 to " + out: "0 []"},
		},
		{
			name:     "each address of a Service for itself",
			ads:      []config.BGPAdvertisement{{Scope: config.Scope{Pools: []string{"six"}}}, {Scope: config.Scope{PoolSelectors: announcetest.Selects(t, "tier", "api")}, Peers: []string{"in"}}},
			services: map[string][]string{"a": {"2001:db8::1", "198.51.100.1", "192.0.2.1", "203.0.113.1"}},
			decisions: []status.Decision{
				{Service: "ns/a", Addr: netip.MustParseAddr("192.0.2.1"), Pool: "web", Reason: status.NoAdvertisement},
				yes("a", "api", "198.51.100.1", []string{"in"}, "198.51.100.1/32"),
				{Service: "ns/a", Addr: netip.MustParseAddr("203.0.113.1"), Reason: status.NotInPool},
				yes("a", "six", "2001:db8::1", []string{"out6"}, "2001:db8::1/128"),
			},
			paths: map[string]string{"198.51.100.1/32 to " + in: "0 []", "2001:db8::1/128 to " + out6: "0 []"},
		},
		{
			name:      "named peers",
			ads:       []config.BGPAdvertisement{{Peers: []string{"out", "unknown"}}},
			services:  one("192.0.2.1"),
			decisions: []status.Decision{yes("a", "web", "192.0.2.1", []string{"out"}, "192.0.2.1/32")},
			paths:     map[string]string{"192.0.2.1/32 to " + out: "0 []"},
		},
		{
			name:      "named peers of another family",
			ads:       []config.BGPAdvertisement{{Peers: []string{"out6"}}},
			services:  one("192.0.2.1"),
			decisions: []status.Decision{no("a", "web", "192.0.2.1", status.NoPeers)},
			paths:     map[string]string{},
		},
		{
			name:      "another node",
			ads:       []config.BGPAdvertisement{{Scope: config.Scope{NodeSelectors: announcetest.Selects(t, "rack", "b")}}},
			services:  one("192.0.2.1"),
			decisions: []status.Decision{no("a", "web", "192.0.2.1", status.NodeNotSelected)},
			paths:     map[string]string{},
		},
		{
			name: "this node by one advertisement of two",
			ads: []config.BGPAdvertisement{
				{Scope: config.Scope{NodeSelectors: announcetest.Selects(t, "rack", "b")}, Communities: []config.Community{community(t, "1:1")}},
				{Scope: config.Scope{NodeSelectors: announcetest.Selects(t, "rack", "a")}, Peers: []string{"in"}},
			},
			services:  one("192.0.2.1"),
			decisions: []status.Decision{yes("a", "web", "192.0.2.1", []string{"in"}, "192.0.2.1/32")},
			paths:     map[string]string{"192.0.2.1/32 to " + in: "0 []"},
		},
		{
			name:     "selected Services",
			ads:      []config.BGPAdvertisement{{Scope: config.Scope{ServiceSelectors: announcetest.Selects(t, "app", "b")}, Peers: []string{"in"}}},
			services: map[string][]string{"a": {"192.0.2.1"}, "b": {"192.0.2.2"}},
			decisions: []status.Decision{
				no("a", "web", "192.0.2.1", status.NoAdvertisement),
				yes("b", "web", "192.0.2.2", []string{"in"}, "192.0.2.2/32"),
			},
			paths: map[string]string{"192.0.2.2/32 to " + in: "0 []"},
		},
		{
			name: "several advertisements of one route",
			ads: []config.BGPAdvertisement{
				{LocalPref: 150, Communities: []config.Community{community(t, "1:2"), community(t, "large:1:2:3")}},
				{LocalPref: 150, Peers: []string{"in"}, Communities: []config.Community{community(t, "1:1"), community(t, "1:2")}},
			},
			services:  one("192.0.2.1"),
			decisions: []status.Decision{yes("a", "web", "192.0.2.1", both, "192.0.2.1/32")},
			paths: map[string]string{
				"192.0.2.1/32 to " + in:  "150 [1:1 1:2 1:2:3]",
				"192.0.2.1/32 to " + out: "0 [1:2 1:2:3]",
			},
		},
		{
			name:      "local preferences in conflict",
			ads:       []config.BGPAdvertisement{{Name: "x", LocalPref: 100}, {Name: "y", LocalPref: 200}},
			services:  one("192.0.2.1"),
			decisions: []status.Decision{no("a", "web", "192.0.2.1", status.ConflictingLocalPref)},
			details:   []string{`advertisement "y" gives routes of /32 to 10.10.0.253 local preference 200, an earlier one 100`},
			paths:     map[string]string{},
		},
		{
			name:      "local preferences for routes of different length",
			ads:       []config.BGPAdvertisement{{LocalPref: 100}, {LocalPref: 200, AggregationLength: 24}},
			services:  one("192.0.2.1"),
			decisions: []status.Decision{yes("a", "web", "192.0.2.1", both, "192.0.2.0/24", "192.0.2.1/32")},
			paths: map[string]string{
				"192.0.2.0/24 to " + in: "200 []", "192.0.2.0/24 to " + out: "0 []",
				"192.0.2.1/32 to " + in: "100 []", "192.0.2.1/32 to " + out: "0 []",
			},
		},
		{
			name:      "local preferences that no internal peer sees",
			ads:       []config.BGPAdvertisement{{LocalPref: 100, Peers: []string{"out"}}, {LocalPref: 200, Peers: []string{"out"}}},
			services:  one("192.0.2.1"),
			decisions: []status.Decision{yes("a", "web", "192.0.2.1", []string{"out"}, "192.0.2.1/32")},
			paths:     map[string]string{"192.0.2.1/32 to " + out: "0 []"},
		},
		{
			name: "an aggregate with the attributes of all its Services",
			ads: []config.BGPAdvertisement{
				{Scope: config.Scope{ServiceSelectors: announcetest.Selects(t, "app", "a")}, AggregationLength: 24, Communities: []config.Community{community(t, "1:1")}},
				{Scope: config.Scope{ServiceSelectors: announcetest.Selects(t, "app", "b")}, AggregationLength: 24, Communities: []config.Community{community(t, "1:2")}, Peers: []string{"in"}},
			},
			services: map[string][]string{"a": {"192.0.2.1"}, "b": {"192.0.2.2"}},
			decisions: []status.Decision{
				yes("a", "web", "192.0.2.1", both, "192.0.2.0/24"),
				yes("b", "web", "192.0.2.2", []string{"in"}, "192.0.2.0/24"),
			},
			paths: map[string]string{"192.0.2.0/24 to " + in: "0 [1:1 1:2]", "192.0.2.0/24 to " + out: "0 [1:1]"},
		},
		{
			name: "an aggregate with local preferences in conflict",
			ads: []config.BGPAdvertisement{
				{Scope: config.Scope{ServiceSelectors: announcetest.Selects(t, "app", "a")}, AggregationLength: 24, LocalPref: 100, Peers: []string{"in"}},
				{Scope: config.Scope{ServiceSelectors: announcetest.Selects(t, "app", "b")}, AggregationLength: 24, LocalPref: 200, Peers: []string{"in"}},
				{Scope: config.Scope{ServiceSelectors: announcetest.Selects(t, "app", "c")}, AggregationLength: 24, LocalPref: 200},
			},
			services: map[string][]string{"a": {"192.0.2.1"}, "b": {"192.0.2.2"}, "c": {"192.0.2.3"}},
			decisions: []status.Decision{
				yes("a", "web", "192.0.2.1", []string{"in"}, "192.0.2.0/24"),
				no("b", "web", "192.0.2.2", status.ConflictingLocalPref),
				yes("c", "web", "192.0.2.3", []string{"out"}, "192.0.2.0/24"),
			},
			details: []string{
				"",
				"route 192.0.2.0/24 to 10.10.0.253 has local preference 100 of ns/a, not 200",
				"route 192.0.2.0/24 to 10.10.0.253 has local preference 100 of ns/a, not 200",
			},
			paths: map[string]string{"192.0.2.0/24 to " + in: "100 []", "192.0.2.0/24 to " + out: "0 []"},
		},
		{
			name: "an aggregate in conflict beside a route that is not",
			ads: []config.BGPAdvertisement{
				{Scope: config.Scope{ServiceSelectors: announcetest.Selects(t, "app", "a")}, AggregationLength: 24, LocalPref: 100},
				{Scope: config.Scope{ServiceSelectors: announcetest.Selects(t, "app", "b")}, AggregationLength: 24, LocalPref: 200, Peers: []string{"in"}},
				{Scope: config.Scope{ServiceSelectors: announcetest.Selects(t, "app", "b")}, LocalPref: 300, Peers: []string{"in"}},
			},
			services: map[string][]string{"a": {"192.0.2.1"}, "b": {"192.0.2.2"}},
			decisions: []status.Decision{
				yes("a", "web", "192.0.2.1", both, "192.0.2.0/24"),
				yes("b", "web", "192.0.2.2", []string{"in"}, "192.0.2.2/32"),
			},
			details: []string{"", "route 192.0.2.0/24 to 10.10.0.253 has local preference 100 of ns/a, not 200"},
			paths: map[string]string{
				"192.0.2.0/24 to " + in: "100 []", "192.0.2.0/24 to " + out: "0 []",
				"192.0.2.2/32 to " + in: "300 []",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := decide(t, tt.ads, tt.services)
			for i, detail := range tt.details {
				tt.decisions[i].Detail = detail
			}
			if diff := cmp.Diff(tt.decisions, d.Decisions, clustertest.Values); diff != "" {
				t.Errorf("decisions (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.paths, paths(d.BGP)); diff != "" {
				t.Errorf("paths (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnnounceWithoutConfiguration(t *testing.T) {
	s := bigCluster(t, 3)
	s.Config = nil
	if diff := cmp.Diff(announce.Desired{}, announce.BGP(s, "n1", announce.Options{}), clustertest.Values); diff != "" {
		t.Errorf("desired (-want +got):\n%s", diff)
	}
}

// TestAnnounceAgain shows that equal snapshots give equal results: nothing in
// them is in the order of a map.
func TestAnnounceAgain(t *testing.T) {
	ads := []config.BGPAdvertisement{
		{Name: "w", LocalPref: 100},
		{Name: "x", AggregationLength: 24, Communities: []config.Community{community(t, "1:1")}},
		{Name: "y", AggregationLength: 16, Scope: config.Scope{ServiceSelectors: announcetest.Selects(t, "app", "b")}, Peers: []string{"out"}},
		{Name: "z", AggregationLengthV6: 64, LocalPref: 100, Scope: config.Scope{ServiceSelectors: announcetest.Selects(t, "app", "c")}},
	}
	services := map[string][]string{
		"a": {"192.0.2.1", "2001:db8::1"}, "b": {"192.0.2.2", "198.51.100.1"}, "c": {"2001:db8::2", "192.0.2.3"},
	}
	first := decide(t, ads, services)
	if n := len(first.BGP.Classes); n < 4 {
		t.Fatalf("%d classes; the test needs several", n)
	}
	secrets := cmp.Comparer(func(a, b config.Secret) bool { return a == b })
	communities := cmp.Comparer(func(a, b config.Community) bool { return a == b })
	for range 20 {
		if diff := cmp.Diff(first, decide(t, ads, services), clustertest.Values, secrets, communities); diff != "" {
			t.Fatalf("desired (-first +again):\n%s", diff)
		}
	}
}

// A route that is damped is not announced for its Service. Another Service with the same
// address has it all the same.
func TestDamped(t *testing.T) {
	range4, err := config.ParseRange("192.0.2.0/24")
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddr("192.0.2.1")
	s := cluster.Snapshot{
		Config: &config.Config{
			Pools:             []config.Pool{{Name: "web", Addresses: []config.Range{range4}}},
			Peers:             []config.Peer{{Name: "out", MyASN: 64512, PeerASN: 64513, Address: netip.MustParseAddr("10.10.0.254")}},
			BGPAdvertisements: []config.BGPAdvertisement{{}},
		},
		Nodes:     []*cluster.Node{{Name: "n1"}},
		Endpoints: map[cluster.Key][]cluster.Endpoint{},
	}
	damped := map[announce.Announcement]bool{{Service: "ns/a", Addr: addr, Protocol: status.BGP}: true}
	for _, tt := range []struct {
		services, want string
		routes         int
	}{
		{"a", "[EndpointsFlap]", 0},
		{"ab", "[EndpointsFlap Announced]", 1},
	} {
		s.Services = nil
		for _, name := range tt.services {
			key := cluster.Key{Namespace: "ns", Name: string(name)}
			s.Services = append(s.Services, &cluster.Service{Key: key, LoadBalancer: true, Ingress: []string{addr.String()}})
			s.Endpoints[key] = []cluster.Endpoint{{Node: "n1"}}
		}
		d := announce.BGP(s, "n1", announce.Options{Damped: damped})
		var reasons []status.Reason
		for _, decision := range d.Decisions {
			reasons = append(reasons, decision.Reason)
		}
		if got := fmt.Sprint(reasons); got != tt.want || len(d.BGP.Networks) != tt.routes {
			t.Errorf("Services %q: %s with %d routes, want %s with %d", tt.services, got, len(d.BGP.Networks), tt.want, tt.routes)
		}
	}
}
