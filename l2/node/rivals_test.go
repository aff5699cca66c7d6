// SPDX-License-Identifier: Apache-2.0

package node

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/l2/members"
)

// The announcer gets the hardware addresses of nodes without an agent once the kernel has
// resolved them.
func TestRivals(t *testing.T) {
	mac := func(i byte) l2.MAC { return l2.MAC{2, 0, 0, 0, 0, i} }
	addr := func(i byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, i}) }
	entry := func(i byte) l2.Neighbor { return l2.Neighbor{Addr: addr(i), MAC: mac(i)} }
	nodes := []*cluster.Node{
		{Name: "n1", Addrs: []netip.Addr{addr(1)}},
		{Name: "n2", Addrs: []netip.Addr{addr(2)}},
		{Name: "n3", Addrs: []netip.Addr{addr(3)}},
	}
	alive := func(i byte, name string) members.Member {
		return members.Member{Name: name, State: members.State{MACs: []members.MAC{members.MAC(mac(i))}}}
	}
	type step struct {
		name  string
		after time.Duration
		view  members.View
		table []l2.Neighbor
		want  map[l2.MAC]string
		isSet bool
		next  time.Duration
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"every node has an agent", []step{
			{name: "at once", view: members.View{Members: []members.Member{alive(1, "n1"), alive(2, "n2"), alive(3, "n3")}}, isSet: true, next: rivalsInterval},
		}},
		{"who is alive is not known yet", []step{
			{name: "stale", view: members.View{Stale: true}, table: []l2.Neighbor{entry(2), entry(3)}, next: rivalsHurry},
			{name: "known", after: rivalsHurry, view: members.View{Members: []members.Member{alive(1, "n1"), alive(2, "n2")}},
				table: []l2.Neighbor{entry(2), entry(3)}, want: map[l2.MAC]string{mac(3): "n3"}, isSet: true, next: rivalsInterval},
		}},
		{"addresses are resolved one after the other", []step{
			{name: "none is", table: nil, next: rivalsHurry},
			{name: "one is", after: rivalsHurry, table: []l2.Neighbor{entry(2), {Addr: addr(3)}}, next: rivalsHurry},
			{name: "the other does not exist", after: 2 * rivalsHurry, table: []l2.Neighbor{entry(2), {Addr: addr(3), Failed: true}},
				want: map[l2.MAC]string{mac(2): "n2"}, isSet: true, next: rivalsInterval},
		}},
		{"an address that is never resolved is not waited for", []step{
			{name: "at first", table: []l2.Neighbor{entry(2)}, next: rivalsHurry},
			{name: "later", after: resolveWait, table: []l2.Neighbor{entry(2)}, want: map[l2.MAC]string{mac(2): "n2"}, isSet: true, next: rivalsInterval},
		}},
		{"where an agent was is no other load balancer", []step{
			{name: "it runs", view: members.View{Members: []members.Member{alive(2, "n2"), alive(3, "n3")}}, isSet: true, next: rivalsInterval},
			{name: "it has ended", after: time.Second, view: members.View{Members: []members.Member{alive(3, "n3")}},
				table: []l2.Neighbor{entry(2), entry(3)}, want: map[l2.MAC]string{}, isSet: true, next: rivalsInterval},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var now step
			isSet, got := false, map[l2.MAC]string(nil)
			r := rivals{
				self:      "n1",
				nodes:     func() []*cluster.Node { return nodes },
				view:      func() members.View { return now.view },
				neighbors: func() ([]l2.Neighbor, error) { return now.table, nil },
				set:       func(nodes map[l2.MAC]string) { isSet, got = true, nodes },
				log:       slog.New(slog.DiscardHandler),
				agents:    new(agents),
			}
			start := time.Now()
			for _, s := range c.steps {
				now, isSet, got = s, false, nil
				if next := r.look(start.Add(s.after)); next != s.next {
					t.Errorf("%s: looks again after %v, want %v", s.name, next, s.next)
				}
				if isSet != s.isSet {
					t.Fatalf("%s: set %v, want %v", s.name, isSet, s.isSet)
				}
				if diff := cmp.Diff(s.want, got); diff != "" {
					t.Errorf("%s: nodes (-want +got):\n%s", s.name, diff)
				}
			}
		})
	}
}
