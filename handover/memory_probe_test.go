// SPDX-License-Identifier: Apache-2.0

package handover_test

import (
	"testing"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/config"
)

// A node whose probe fails goes on until another node without that failure was seen to send
// the route, and half a second more: that one may have failed at the same time.
func TestMemoryProbe(t *testing.T) {
	x := newSwitching(t)
	x.sent = true
	probe := config.Probe{Protocol: config.ProbeTCP}
	withdraw := probe
	withdraw.Withdraw = true
	advertise := func(p config.Probe) {
		c := *x.s.Config
		c.L2Advertisements = nil
		c.BGPAdvertisements = []config.BGPAdvertisement{{Name: "b", AggregationLength: 32, Scope: config.Scope{Probe: p}}}
		x.s.Config = &c
	}
	advertise(probe)
	id := func(p config.Probe) announce.ProbeID {
		return announce.ProbeID{ServiceAddr: announce.ServiceAddr{Service: "ns/a", Addr: x.addr}, Probe: p}
	}
	fails := func(is bool) {
		if x.failing = nil; is {
			x.failing = map[announce.ProbeID]string{id(probe): "refused", id(withdraw): "refused"}
		}
	}
	others := func(sent, faulty bool) {
		n2, n3 := announcetest.Sends("n2", "r"), announcetest.Sends("n3", "r")
		if sent {
			n2, n3 = announcetest.Sends("n2", "r", x.addr.String()), announcetest.Sends("n3", "r", x.addr.String())
		}
		if n3.Faults = []announce.Fault{id(probe).Fault()}; faulty {
			n2.Faults = n3.Faults
		}
		x.m.Members = []announce.Member{{Node: "n1"}, n2, n3}
	}
	others(false, false)
	const route, leaves = "route to 192.0.2.1/32", "route to 192.0.2.1/32, bgp HandingOver"
	steps := []struct {
		name   string
		change func()
		want   string
	}{
		{"announced", func() {}, route},
		{"the probe fails", func() { fails(true) }, leaves},
		{"a minute later", func() { x.now = x.now.Add(time.Minute) }, leaves},
		{"another has sent it", func() { others(true, false) }, leaves},
		{"nearly half a second later", func() { x.now = x.now.Add(500*time.Millisecond - 1) }, leaves},
		{"half a second later", func() { x.now = x.now.Add(1) }, ""},
		{"the probe fails there, too", func() { others(true, true) }, route},
		{"it is answered there", func() { others(true, false) }, leaves},
		{"half a second after that", func() { x.now = x.now.Add(500 * time.Millisecond) }, ""},
		{"it is answered here", func() { fails(false) }, route},
		{"nothing is answered", func() { fails(true); others(true, true) }, route},
		{"the rules change", func() { advertise(withdraw) }, ""},
		{"it is answered", func() { fails(false) }, route},
	}
	for _, step := range steps {
		step.change()
		out, got := x.next(t)
		if got != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
		if ask := got == leaves; out.Ask != ask {
			t.Errorf("%s: asks %v, want %v", step.name, out.Ask, ask)
		}
	}
}
