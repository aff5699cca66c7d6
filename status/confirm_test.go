// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/status"
)

func TestConfirm(t *testing.T) {
	addr, host, net := netip.MustParseAddr("192.0.2.1"), netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.0/24")
	a := status.Peer{Name: "a", Address: netip.MustParseAddr("10.0.0.1"), Wanted: true}
	vrf := status.Peer{Name: "vrf", Address: netip.MustParseAddr("10.0.0.1"), VRF: "red", Wanted: true}
	cable := status.Peer{Name: "cable", Interface: "eth1", Wanted: true}
	other := status.Peer{Name: "other", Address: netip.MustParseAddr("10.0.0.2"), Wanted: true}
	same := status.Peer{Name: "same", Address: netip.MustParseAddr("10.0.0.1")} // not wanted: it conflicts with a
	peers := []string{"a", "cable", "same", "vrf"}
	tests := []struct {
		name      string
		routes    []netip.Prefix
		sent      map[netip.Prefix][]status.PeerID
		confirmed bool
		want      []string
	}{
		{name: "no route"},
		{name: "sent to nobody", routes: []netip.Prefix{host}},
		{name: "to one", routes: []netip.Prefix{host}, sent: map[netip.Prefix][]status.PeerID{host: {a.ID()}}, confirmed: true, want: []string{"a"}},
		{
			name: "to all, of an interface and of a VRF, and to one that it is not for", routes: []netip.Prefix{host},
			sent:      map[netip.Prefix][]status.PeerID{host: {cable.ID(), a.ID(), other.ID(), vrf.ID()}},
			confirmed: true, want: []string{"a", "cable", "vrf"},
		},
		{
			name: "one of two routes", routes: []netip.Prefix{net, host},
			sent: map[netip.Prefix][]status.PeerID{host: {a.ID()}}, want: []string{"a"},
		},
		{
			name: "two routes to different peers", routes: []netip.Prefix{net, host},
			sent:      map[netip.Prefix][]status.PeerID{host: {a.ID()}, net: {vrf.ID(), a.ID()}},
			confirmed: true, want: []string{"a", "vrf"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := status.Report{
				Peers:     []status.Peer{a, vrf, cable, other, same},
				Decisions: []status.Decision{{Service: "ns/a", Addr: addr, Protocol: status.BGP, Announce: true, Routes: tt.routes, Peers: peers}},
			}
			held := r.Decisions
			r.Confirm(func(p netip.Prefix) []status.PeerID { return tt.sent[p] })
			if d := r.Decisions[0]; d.Confirmed != tt.confirmed {
				t.Errorf("confirmed: %v", d.Confirmed)
			} else if diff := cmp.Diff(tt.want, d.Sent); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
			if held[0].Confirmed || held[0].Sent != nil {
				t.Error("a Decision that somebody else holds has changed")
			}
		})
	}
}
