// SPDX-License-Identifier: Apache-2.0

package members_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/heraldlb/herald/l2/members"
)

// All agents learn which probes fail on which node, also one that joins later, and one that
// was cut off meanwhile. What a node published of itself besides stays.
func TestFaults(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 4)
		a := []*agent{c.start(0), c.start(1), c.start(2)}
		for _, s := range a {
			s.await("all alive", alive("n01", "n02", "n03"))
		}
		held := netip.MustParseAddr("192.0.2.1")
		a[0].Publish(members.State{Held: []netip.Addr{held}})
		var want []members.Fault
		for i := range 300 { // several packets
			want = append(want, members.Fault{Addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), Digest: uint32(i * 7919)})
		}
		want = append(want, members.Fault{Addr: netip.MustParseAddr("2001:db8::1"), Digest: 1 << 31})
		has := func(want []members.Fault) func(members.View) bool {
			return func(v members.View) bool {
				return slices.Equal(v.Members[0].Faults, want) && len(v.Held()[held]) == 1 && len(v.Members[1].Faults) == 0
			}
		}
		a[0].SetFaults(want)
		for _, s := range a {
			s.await("the faults", has(want))
		}
		a = append(a, c.start(3))
		a[3].await("the faults, by one that joins later", has(want))

		c.wires.Part(1, c.addr(2))
		a[2].await("it is alone", alive("n03"))
		want = want[len(want)-2:]
		a[0].SetFaults(want)
		a[1].await("fewer faults", has(want))
		c.wires.Part(0, c.addr(2))
		a[2].await("all alive again", alive("n01", "n02", "n03", "n04"))
		a[2].await("fewer faults, by one that was cut off", has(want))
		before := a[0].View().Generation
		a[0].SetFaults(slices.Clone(want))
		if after := a[0].View().Generation; after != before {
			t.Errorf("the same faults again are generation %d, was %d", after, before)
		}
		a[0].SetFaults(nil)
		for _, s := range a {
			s.await("no faults", has(nil))
		}
	})
}
