// SPDX-License-Identifier: Apache-2.0

package handover_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster/clustertest"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/status"
)

func TestSwitchInputs(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.1")
	decision := func(p status.Protocol, r status.Reason) status.Decision {
		return status.Decision{Service: "ns/a", Addr: addr, Protocol: p, Announce: r == status.Announced, Reason: r}
	}
	overBGP := func(reasons ...status.Reason) []status.Decision {
		var out []status.Decision
		for _, r := range reasons {
			out = append(out, decision(status.BGP, r))
		}
		return out
	}
	elected := func(owner string, holders []string, reasons ...status.Reason) announce.DesiredLayer2 {
		d := announce.DesiredLayer2{Owners: map[netip.Addr]string{addr: owner}, Held: map[netip.Addr][]string{addr: holders}}
		for _, r := range reasons {
			d.Decisions = append(d.Decisions, decision(status.Layer2, r))
		}
		return d
	}
	blind := elected("", nil, status.MembersUnknown)
	blind.Owners, blind.Stale = nil, true
	tests := []struct {
		name    string
		bgp     []status.Decision
		layer2  announce.DesiredLayer2
		inForce bool
		want    handover.Input
	}{
		{"bgp that is not in force", overBGP(status.Announced), announce.DesiredLayer2{}, false,
			handover.Input{Wanted: bgp, Own: bgp, MayAnnounce: true}},
		{"bgp that is in force", overBGP(status.Announced), announce.DesiredLayer2{}, true,
			handover.Input{Wanted: bgp, Own: bgp, MayAnnounce: true, Confirmed: bgp}},
		{"layer2 that another node holds", nil, elected("n2", []string{"n2"}, status.NotOwner), false,
			handover.Input{Wanted: layer2, MayAnnounce: true, Confirmed: layer2, Successor: true}},
		{"layer2 that another node is elected for, and this one holds", nil, elected("n2", []string{"n1"}, status.NotOwner), false,
			handover.Input{Wanted: layer2, MayAnnounce: true, Confirmed: layer2}},
		{"layer2 that this node holds", nil, elected("n1", []string{"n1"}, status.Announced), false,
			handover.Input{Wanted: layer2, Own: layer2, MayAnnounce: true, Confirmed: layer2}},
		{"both, on a node without peers", overBGP(status.NoPeers), elected("n1", nil, status.Announced), false,
			handover.Input{Wanted: both, Own: layer2, MayAnnounce: true}},
		{"no endpoint anywhere", overBGP(status.NoEndpoints), announce.DesiredLayer2{}, false, handover.Input{}},
		{"no endpoint here", overBGP(status.NoLocalEndpoints), announce.DesiredLayer2{}, true,
			handover.Input{Wanted: bgp}},
		{"shared by a Service with an endpoint here and one without", overBGP(status.NoLocalEndpoints, status.Announced), announce.DesiredLayer2{}, false,
			handover.Input{Wanted: bgp, Own: bgp, MayAnnounce: true}},
		{"nobody knows who is alive", nil, blind, false,
			handover.Input{Wanted: layer2, MayAnnounce: true, MembersUnknown: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := handover.Inputs(announce.Desired{Decisions: tt.bgp}, tt.layer2, func([]netip.Prefix) bool { return tt.inForce })
			if diff := cmp.Diff(map[netip.Addr]handover.Input{addr: tt.want}, got, clustertest.Values); diff != "" {
				t.Errorf("inputs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSwitches(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	now := time.Unix(1_000_000, 0)
	sw := handover.Switches{}
	is := func(p, confirmed handover.Protocols) handover.Input {
		return handover.Input{Wanted: p, Own: p, MayAnnounce: true, Confirmed: confirmed}
	}
	steps := []struct {
		name string
		in   map[netip.Addr]handover.Input
		want map[netip.Addr]handover.Protocols
		next time.Duration // from now; 0: no need
		kept int
	}{
		{"two addresses", map[netip.Addr]handover.Input{a: is(layer2, layer2), b: is(layer2, layer2)},
			map[netip.Addr]handover.Protocols{a: layer2, b: layer2}, 0, 2},
		{"both switch, one is confirmed", map[netip.Addr]handover.Input{a: is(bgp, layer2), b: is(bgp, both)},
			map[netip.Addr]handover.Protocols{a: both, b: both}, 5 * time.Second, 2},
		{"one is deleted", map[netip.Addr]handover.Input{a: is(bgp, layer2)},
			map[netip.Addr]handover.Protocols{a: both}, 30 * time.Second, 1},
		{"the other is wanted no more", map[netip.Addr]handover.Input{a: is(none, none)},
			map[netip.Addr]handover.Protocols{}, 0, 0},
	}
	for _, step := range steps {
		out, next := sw.Step(step.in, now, handover.DefaultTimes)
		got := map[netip.Addr]handover.Protocols{}
		for addr, o := range out {
			got[addr] = o.Announce
		}
		if diff := cmp.Diff(step.want, got, clustertest.Values); diff != "" {
			t.Errorf("%s: announced (-want +got):\n%s", step.name, diff)
		}
		if since(next, now) != step.next {
			t.Errorf("%s: next after %v, want %v", step.name, since(next, now), step.next)
		}
		if len(sw) != step.kept {
			t.Errorf("%s: %d addresses remembered, want %d", step.name, len(sw), step.kept)
		}
	}
}
