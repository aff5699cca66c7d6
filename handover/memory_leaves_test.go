// SPDX-License-Identifier: Apache-2.0

package handover_test

import (
	"testing"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/config"
)

// A node whose route is left to others says so, and withdraws it a moment after one
// of them has sent it.
func TestMemoryLeaves(t *testing.T) {
	x := newSwitching(t)
	x.protocols(true, false)
	x.sent = true
	both := []string{"192.0.2.1", "192.0.2.77"}
	x.m.Members = []announce.Member{{Node: "n1"}, announcetest.Sends("n2", "r"), announcetest.Sends("n3", "r")}
	const route = "route to 192.0.2.0/28"
	select3 := func(label, value string) {
		c := *x.s.Config
		c.BGPAdvertisements = []config.BGPAdvertisement{{Name: "b", AggregationLength: 28, Scope: config.Scope{NodeSelectors: announcetest.Selects(t, label, value)}}}
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
		{"that has sent it", func() { x.m.Members[1] = announcetest.Sends("n2", "r", both...) }, route + ", bgp HandingOver, bgp HandingOver"},
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
	x.m.Members = []announce.Member{{Node: "n1"}, announcetest.Sends("n2", "r")}
	x.next(t)
	x.s.Nodes[0].Labels = map[string]string{announce.LabelExcludeNode: ""}
	if _, got := x.next(t); got == "" {
		t.Error("withdrawn at once")
	}
	x.now = x.now.Add(5 * time.Minute)
	if out, got := x.next(t); got != "" || len(out.GivenUp) != 2 {
		t.Errorf("in the end: %q, given up %v", got, out.GivenUp)
	}
}
