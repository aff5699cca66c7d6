// SPDX-License-Identifier: Apache-2.0

package members_test

import (
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

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
		for _, m := range a[1].View().Members {
			if m.Judged {
				t.Errorf("%s has said nothing, and counts as if its probes were answered", m.Name)
			}
		}
		held := netip.MustParseAddr("192.0.2.1")
		a[0].Publish(members.State{Held: []netip.Addr{held}})
		var want []members.Fault
		for i := range 300 { // several packets
			want = append(want, members.Fault{Addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), Digest: uint32(i * 7919)})
		}
		want[7].Unknown = true
		want = append(want, members.Fault{Addr: netip.MustParseAddr("2001:db8::1"), Digest: 1 << 31}, members.Fault{Addr: netip.MustParseAddr("2001:db8::2"), Unknown: true})
		has := func(want []members.Fault) func(members.View) bool {
			return func(v members.View) bool {
				return slices.Equal(v.Members[0].Faults, want) && v.Members[0].Judged && len(v.Held()[held]) == 1 &&
					len(v.Members[1].Faults) == 0 && !v.Members[1].Judged
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

// An agent that is restarted has no verdicts until it says so, whatever its predecessor said.
func TestFaultsRestart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 2)
		a, b := c.start(0), c.start(1)
		a.await("all alive", alive("n01", "n02"))
		judged := func(is bool) func(members.View) bool {
			return func(v members.View) bool { return len(v.Members) == 2 && v.Members[1].Judged == is }
		}
		b.SetFaults(nil)
		a.await("all probes are answered", judged(true))
		b.stop()
		a.await("it is gone", alive("n01"))
		b = c.start(1)
		a.await("it is back", alive("n01", "n02"))
		time.Sleep(time.Minute) // with exchanges of states
		if v := a.View(); v.Members[1].Judged {
			t.Error("an agent that has just started counts as if its probes were answered")
		}
		b.SetFaults(nil)
		a.await("all probes are answered again", judged(true))
	})
}

// Of more faults than others are to know, those with a verdict come first, and what is left out
// counts as unknown.
func TestFaultsCut(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 2)
		a, b := c.start(0), c.start(1)
		b.await("all alive", alive("n01", "n02"))
		var all []members.Fault
		for i := range 1500 {
			all = append(all, members.Fault{Addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), Unknown: i < 1000})
		}
		a.SetFaults(all)
		has := func(fail, unknown int, judged bool) func(members.View) bool {
			return func(v members.View) bool {
				n := 0
				for _, f := range v.Members[0].Faults {
					if f.Unknown {
						n++
					}
				}
				return len(v.Members[0].Faults)-n == fail && n == unknown && v.Members[0].Judged == judged
			}
		}
		for _, s := range []*agent{a, b} {
			s.await("some of them", has(500, 1024-500, false))
		}
		if n := a.Untold(); n != 1500-1024 {
			t.Errorf("%d are not told", n)
		}
		a.SetFaults(all[500:])
		b.await("all that are left", has(500, 500, true))
		if n := a.Untold(); n != 0 {
			t.Errorf("%d are not told", n)
		}
	})
}

// All agents together are told of a bounded number.
func TestFaultsOfMany(t *testing.T) {
	l := members.New(members.Options{Node: "n1", Logger: slog.New(slog.DiscardHandler)})
	var all []members.Fault
	for i := range 1000 {
		all = append(all, members.Fault{Addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})})
	}
	l.SetFaults(all)
	for _, tt := range []struct{ others, told int }{{0, 1000}, {63, 1000}, {127, 512}, {999, 64}, {5000, 16}} {
		members.Join(l, tt.others)
		if v := l.View(); len(v.Members[0].Faults) != tt.told || v.Members[0].Judged != (tt.told == len(all)) {
			t.Errorf("among %d others: %d told, judged %t; want %d", tt.others, len(v.Members[0].Faults), v.Members[0].Judged, tt.told)
		}
	}
}
