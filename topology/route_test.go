// SPDX-License-Identifier: Apache-2.0

package topology_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/topology"
)

// Services whose addresses are in one prefix share a route. What a node does not announce, or
// answers for on layer 2, is no route.
func TestRoutes(t *testing.T) {
	wide, one := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.0.2.7/32")
	verdict := func(announce bool, protocol status.Protocol, nodes, peers, sent []string, routes ...netip.Prefix) topology.Verdict {
		return topology.Verdict{Protocol: protocol, Nodes: nodes, From: topology.FromAgent, Announce: announce, Peers: peers, Sent: sent, Routes: routes}
	}
	both := []string{"tor", "spine"}
	top := topology.Topology{Services: []topology.Service{
		{Name: "a/a", Verdicts: []topology.Verdict{
			verdict(true, status.BGP, []string{"n2", "n1"}, both, []string{"tor"}, wide),
			verdict(false, status.BGP, []string{"n3"}, both, nil, wide),
			verdict(true, status.Layer2, []string{"n1"}, nil, nil),
		}},
		{Name: "a/b", Verdicts: []topology.Verdict{verdict(true, status.BGP, []string{"n1"}, both, both, wide, one)}},
	}}
	route := func(node, peer string, prefix netip.Prefix, sent bool, services ...string) topology.Route {
		return topology.Route{Node: node, Peer: peer, Prefix: prefix, Services: services, Sent: sent, From: topology.FromAgent}
	}
	want := []topology.Route{
		route("n1", "spine", wide, true, "a/a", "a/b"),
		route("n1", "spine", one, true, "a/b"),
		route("n1", "tor", wide, true, "a/a", "a/b"),
		route("n1", "tor", one, true, "a/b"),
		route("n2", "spine", wide, false, "a/a"),
		route("n2", "tor", wide, true, "a/a"),
	}
	if diff := cmp.Diff(want, top.Routes(), cmp.Comparer(func(x, y netip.Prefix) bool { return x == y })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A node's load is what its agent says, and without the agent what objects say.
func TestLoad(t *testing.T) {
	in := inputOf(4, true)
	down := *in.Agents[1].Report
	down.Peers[1].Session = status.Session{State: "Active"}
	in.Agents[1].Report = &down
	answers := *in.Agents[0].Report
	for range 2 { // two Services share an address
		answers.Decisions = append(answers.Decisions, status.Decision{
			Service: answers.Decisions[0].Service, Addr: netip.MustParseAddr("10.32.0.0"), Protocol: status.Layer2, Announce: true, Confirmed: true, Reason: status.Announced,
		})
	}
	in.Agents[0].Report = &answers
	in.Agents[2].Report = nil
	want := []topology.Load{
		{Sessions: 2, Wanted: 2, Routes: 8, Addresses: 1},
		{Sessions: 1, Wanted: 2, Routes: 4},
		{Sessions: 2, Wanted: 2}, // nobody says how many routes
	}
	var got []topology.Load
	for _, n := range topology.Build(in).Nodes {
		got = append(got, n.Load)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
