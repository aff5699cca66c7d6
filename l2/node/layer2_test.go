// SPDX-License-Identifier: Apache-2.0

package node

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/l2/members"
)

var values = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})

func TestPeers(t *testing.T) {
	addr := netip.MustParseAddr
	nodes := []*cluster.Node{
		{Name: "n1", Addrs: []netip.Addr{addr("10.0.0.1")}},
		{Name: "n2", Addrs: []netip.Addr{addr("fd00::2"), addr("10.0.0.2"), addr("10.1.0.2")}},
		{Name: "n3", Addrs: []netip.Addr{addr("fd00::3")}},
		{Name: "n4"},
	}
	for _, tt := range []struct{ bind, want string }{{"10.0.0.1:7946", "10.0.0.2:7946"}, {"[fd00::1]:9", "[fd00::2]:9 [fd00::3]:9"}} {
		var got []string
		for _, p := range peers(nodes, "n1", netip.MustParseAddrPort(tt.bind)) {
			got = append(got, p.String())
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("peers of %s: %v, want %s", tt.bind, got, tt.want)
		}
	}
}

func TestStateOf(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	s := l2.State{
		Interfaces: []l2.Interface{
			{Link: l2.Link{Name: "eth0", MAC: l2.MAC{2}}, NDP: l2.NoLinkLocal},
			{Link: l2.Link{Name: "eth1", MAC: l2.MAC{1}}, ARP: l2.IsDown, NDP: l2.IsDown},
			{Link: l2.Link{Name: "eth2", MAC: l2.MAC{2}}},
		},
		Addresses: []l2.Address{{Addr: a, Confirmed: true}, {Addr: b}},
	}
	want := members.State{
		Leaving: true, Interfaces: []string{"eth0", "eth2"}, MACs: []members.MAC{{2}}, Held: []netip.Addr{a},
	}
	if diff := cmp.Diff(want, stateOf(s, true), values); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
}
