// SPDX-License-Identifier: Apache-2.0

package handover_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

// The last endpoint of a node terminates, and another node has a ready one. The route stays
// until that node was seen to send it, and goes then, though the endpoint still serves.
func TestMemoryRolls(t *testing.T) {
	x := newSwitching(t)
	x.protocols(true, false)
	x.sent = true
	a := x.s.Services[0]
	a.Local = true
	x.m.Members = []announce.Member{{Node: "n1"}, announcetest.Sends("n2", "r")}
	on := func(endpoints ...cluster.Endpoint) func() { return func() { x.s.Endpoints[a.Key] = endpoints } }
	const route, handing = "route to 192.0.2.0/28", "route to 192.0.2.0/28, bgp HandingOver"
	steps := []struct {
		name   string
		change func()
		want   string
		reason status.Reason
	}{
		{"announced", on(cluster.Endpoint{Node: "n1"}), route, status.Announced},
		{"the next is ready", on(cluster.Endpoint{Node: "n1"}, cluster.Endpoint{Node: "n2"}), route, status.Announced},
		{"this one terminates", on(cluster.Endpoint{Node: "n1", Terminating: true}, cluster.Endpoint{Node: "n2"}), handing, status.HandingOver},
		{"a while later", func() { x.now = x.now.Add(20 * time.Second) }, handing, status.HandingOver},
		{"the next has sent it", func() { x.m.Members[1] = announcetest.Sends("n2", "r", "192.0.2.1") }, handing, status.HandingOver},
		{"a second later", func() { x.now = x.now.Add(time.Second) }, "", status.EndpointsTerminating},
		{"the endpoint is gone", on(cluster.Endpoint{Node: "n2"}), "", status.NoLocalEndpoints},
		{"it comes back", on(cluster.Endpoint{Node: "n1"}, cluster.Endpoint{Node: "n2", Terminating: true}), route, status.Announced},
		{"and is gone at once", on(cluster.Endpoint{Node: "n2", Terminating: true}), "", status.NoLocalEndpoints},
	}
	for _, step := range steps {
		step.change()
		out, got := x.next(t)
		if got != step.want || out.Decisions[0].Reason != step.reason {
			t.Errorf("%s: %q, %+v, want %q, %s", step.name, got, out.Decisions[0], step.want, step.reason)
		}
		if asks := step.reason == status.HandingOver; out.Ask != asks {
			t.Errorf("%s: asks %t", step.name, out.Ask)
		}
	}
}

// The owner of an address on layer 2 goes on while the next one waits for its data plane,
// even if its own endpoint is gone.
func TestMemoryRollsOnLayer2(t *testing.T) {
	x := newSwitching(t)
	x.protocols(false, true)
	a := x.s.Services[0]
	a.Local = true
	next := announce.Member{Node: "n2", Interfaces: []string{"eth0"}}
	x.m.Members = append(x.m.Members, next)
	x.s.Endpoints[a.Key] = []cluster.Endpoint{{Node: "n1"}}
	if _, got := x.next(t); got != "announces" {
		t.Fatalf("at first: %q", got)
	}
	x.m.Members[0].Held = []netip.Addr{x.addr}
	for _, endpoints := range [][]cluster.Endpoint{{{Node: "n1", Terminating: true}, {Node: "n2"}}, {{Node: "n2"}}} {
		x.s.Endpoints[a.Key] = endpoints
		if _, got := x.next(t); got != "answers, layer2 HandingOver" {
			t.Errorf("endpoints %+v: %q", endpoints, got)
		}
		x.now = x.now.Add(time.Second)
	}
	x.m.Members[1].Held = []netip.Addr{x.addr}
	if _, got := x.next(t); got != "" {
		t.Errorf("the next one answers: %q", got)
	}
}
