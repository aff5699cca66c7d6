// SPDX-License-Identifier: Apache-2.0

package node

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/l2/members"
)

var values = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})

// An agent whose node cannot forward yet is alive, and answers on no interface.
func TestHold(t *testing.T) {
	interfaces := []l2.Interface{{Link: l2.Link{Name: "eth0", MAC: l2.MAC{2}}}}
	for held, want := range map[bool]int{true: 0, false: 1} {
		l := &Layer2{held: held}
		if got := l.stateToPublish(interfaces, nil); len(got.Interfaces) != want || len(got.MACs) != 1 {
			t.Errorf("held %t: %+v", held, got)
		}
	}
}

func TestStateOf(t *testing.T) {
	a := netip.MustParseAddr("192.0.2.1")
	interfaces := []l2.Interface{
		{Link: l2.Link{Name: "eth0", MAC: l2.MAC{2}}, NDP: l2.NoLinkLocal},
		{Link: l2.Link{Name: "eth1", MAC: l2.MAC{1}}, ARP: l2.IsDown, NDP: l2.IsDown},
		{Link: l2.Link{Name: "eth2", MAC: l2.MAC{2}}},
	}
	want := members.State{
		Leaving: true, Interfaces: []string{"eth0", "eth2"}, MACs: []members.MAC{{2}}, Held: []netip.Addr{a},
	}
	if diff := cmp.Diff(want, stateOf(interfaces, []netip.Addr{a}, true), values); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
}
