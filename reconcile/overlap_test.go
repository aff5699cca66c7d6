// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/reconcile"
)

func TestOverlaps(t *testing.T) {
	cfg, err := config.Parse([]byte(`
address-pools:
- {name: lan, protocol: layer2, addresses: [10.10.0.0/24]}
- {name: inside, protocol: bgp, addresses: [10.96.0.0/28, 10.244.1.0/28]}
- {name: wide, protocol: bgp, addresses: [10.244.2.0-10.245.0.0]}
- {name: free, protocol: bgp, addresses: [192.0.2.0/24, "2001:db8::/120"]}
`))
	if err != nil {
		t.Fatal(err)
	}
	nodes := []*cluster.Node{
		{Name: "n1", Addrs: []netip.Addr{netip.MustParseAddr("10.10.0.1")}, PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24")}},
		{Name: "n2", Addrs: []netip.Addr{netip.MustParseAddr("10.10.0.2")}, PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.3.0/24")}},
	}
	services := []*cluster.Service{
		{Key: cluster.Key{Namespace: "default", Name: "kubernetes"}, ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.1")}},
		// What a Service of a file is taken to have, and no API server gave it.
		{Key: cluster.Key{Namespace: "shop", Name: "web"}, ClusterIPs: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}},
	}
	want := []string{
		`pool "lan": contains 10.10.0.1, the address of Node n1`,
		`pool "inside": contains 10.244.1.0, an address of the pod network of Node n1, 10.244.1.0/24`,
		`pool "inside": contains 10.96.0.1, the cluster IP of Service default/kubernetes`,
		`pool "wide": contains 10.244.3.0, the first address of the pod network of Node n2, 10.244.3.0/24`,
	}
	if diff := cmp.Diff(want, reconcile.Overlaps(cfg, nodes, services)); diff != "" {
		t.Errorf("overlaps (-want +got):\n%s", diff)
	}
}

// Of all nodes one answers for an address on layer 2.
func TestForesee(t *testing.T) {
	cfg, err := config.Parse([]byte(`
peers: [{my-asn: 64512, peer-asn: 64513, peer-address: 10.10.0.254}]
address-pools:
- {name: lan, protocol: layer2, addresses: [192.0.2.0/28]}
- {name: wan, protocol: bgp, addresses: [198.51.100.0/28]}
`))
	if err != nil {
		t.Fatal(err)
	}
	s := cluster.Snapshot{
		Nodes: []*cluster.Node{{Name: "n1"}, {Name: "n2"}, {Name: "n3"}},
		Services: []*cluster.Service{{
			Key: cluster.Key{Namespace: "shop", Name: "web"}, LoadBalancer: true, Ingress: []string{"192.0.2.1", "198.51.100.1"},
		}},
		Endpoints: map[cluster.Key][]cluster.Endpoint{{Namespace: "shop", Name: "web"}: {{Node: "n1"}}},
	}
	s.Config = cfg
	answers, routes := 0, 0
	for _, n := range s.Nodes {
		d := announce.Foresee(s, n.Name, announce.Options{})
		if len(d.Decisions) != 2 {
			t.Fatalf("%s decides %+v", n.Name, d.Decisions)
		}
		if d.Decisions[0].Announce {
			answers++
		}
		if d.Decisions[1].Announce {
			routes++
		}
	}
	if answers != 1 || routes != 3 {
		t.Errorf("%d nodes answer and %d announce a route, want 1 and 3", answers, routes)
	}
}
