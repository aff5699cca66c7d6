// SPDX-License-Identifier: Apache-2.0

// Package announcetest has the clusters that tests of several packages decide about.
package announcetest

import (
	"net/netip"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
)

// Selects returns the selector of objects whose label has this value.
func Selects(t *testing.T, key, value string) []config.Selector {
	t.Helper()
	s, err := config.NewSelector(metav1.LabelSelector{MatchLabels: map[string]string{key: value}})
	if err != nil {
		t.Fatal(err)
	}
	return []config.Selector{s}
}

// Sends is a member that was seen to have sent routes of addresses to a peer.
func Sends(node, peer string, addrs ...string) announce.Member {
	m := announce.Member{Node: node, Answered: true}
	for _, text := range addrs {
		addr := netip.MustParseAddr(text)
		m.Sent = append(m.Sent, announce.Sent{Peers: []string{peer}, Runs: [][2]netip.Addr{{addr, addr}}})
	}
	return m
}

// Layer2Cluster returns three nodes n1 to n3, n1 labelled rack=a, the pool
// 192.0.2.0/24 and 2001:db8::/112, and an advertisement of it.
func Layer2Cluster(t *testing.T) (cluster.Snapshot, announce.Membership) {
	t.Helper()
	var ranges []config.Range
	for _, text := range []string{"192.0.2.0/24", "2001:db8::/112"} {
		r, err := config.ParseRange(text)
		if err != nil {
			t.Fatal(err)
		}
		ranges = append(ranges, r)
	}
	s := cluster.Snapshot{
		Config: &config.Config{
			Pools:            []config.Pool{{Name: "web", Addresses: ranges}},
			L2Advertisements: []config.L2Advertisement{{Name: "web"}},
		},
		Nodes:     []*cluster.Node{{Name: "n1", Labels: map[string]string{"rack": "a"}}, {Name: "n2"}, {Name: "n3"}},
		Endpoints: map[cluster.Key][]cluster.Endpoint{},
	}
	var m announce.Membership
	for _, n := range s.Nodes {
		m.Members = append(m.Members, announce.Member{Node: n.Name, Interfaces: []string{"eth0"}})
	}
	return s, m
}

// AddService adds a Service with these addresses, and endpoints of both
// families on these nodes.
func AddService(s *cluster.Snapshot, name string, local bool, addrs []string, endpoints ...string) {
	key := cluster.Key{Namespace: "ns", Name: name}
	s.Services = append(s.Services, &cluster.Service{
		Key: key, LoadBalancer: true, Local: local, Ingress: addrs, Labels: map[string]string{"app": name},
	})
	for _, n := range endpoints {
		s.Endpoints[key] = append(s.Endpoints[key], cluster.Endpoint{Node: n}, cluster.Endpoint{Node: n, IPv6: true})
	}
}
