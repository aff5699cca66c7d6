// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/table"
)

// seen returns what an announcer that has these addresses shows.
func seen(all ...l2.Address) func() l2.Seen {
	var e table.Editor[netip.Addr, *l2.Address]
	for _, a := range all {
		e.Set(a.Addr, &a)
	}
	return func() l2.Seen { return l2.Seen{Addresses: e.Table()} }
}

// A claim counts while gossip does not reach the node that answers.
func TestClaims(t *testing.T) {
	now := time.Now()
	mac := func(b byte) l2.MAC { return l2.MAC{2, 0, 0, 0, 0, b} }
	addr := func(b byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, b}) }
	known := map[l2.MAC]string{mac(1): "n1", mac(2): "n2", mac(3): "n3", mac(4): "n4"}
	answers := func(a byte, by ...byte) l2.Address {
		out := l2.Address{Addr: addr(a)}
		for _, b := range by {
			out.Contenders = append(out.Contenders, l2.Claim{MAC: mac(b), At: now})
		}
		return out
	}
	var h hearing
	heard := h.next(seen(
		l2.Address{Addr: addr(1), TakenBy: l2.Claim{MAC: mac(3), At: now}}, answers(2, 2), answers(3, 3), answers(4, 9), answers(5, 2, 3, 4),
	))
	got := heard.claims(func(mac l2.MAC) string { return known[mac] }, map[string]bool{"n1": true, "n2": true})
	want := map[netip.Addr][]announce.Claim{
		addr(3): {{Node: "n3", At: now}},
		addr(5): {{Node: "n3", At: now}, {Node: "n4", At: now}},
	}
	if diff := cmp.Diff(want, got, values); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if got := heard.answering(); len(got) != 4 || !got[mac(9)] || got[mac(1)] {
		t.Errorf("%v answer", got)
	}
	if heard := h.next(seen(answers(2))); len(heard.answering()) > 0 {
		t.Errorf("when all are silent, %v answer", heard.answering())
	}
}

func TestConflicts(t *testing.T) {
	a, b, c := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")
	claim := l2.Claim{MAC: l2.MAC{2, 0, 0, 0, 0, 9}, Interface: "eth0", At: time.Now()}
	var h hearing
	got := h.next(seen(
		l2.Address{Addr: a},
		l2.Address{Addr: b, Conflict: claim, Presences: []l2.Presence{{Phase: l2.Announced}}},
		l2.Address{Addr: c, Conflict: claim, Presences: []l2.Presence{{Phase: l2.Refused}}},
	)).conflicts
	want := map[netip.Addr]reconcile.Conflict{
		b: {By: "02:00:00:00:00:09", On: "eth0"},
		c: {By: "02:00:00:00:00:09", On: "eth0", Refused: true},
	}
	if diff := cmp.Diff(want, got, values); diff != "" {
		t.Errorf("conflicts (-want +got):\n%s", diff)
	}
	if got := h.next(seen(l2.Address{Addr: b})).conflicts; len(got) > 0 {
		t.Errorf("when they are settled: %v", got)
	}
}

// What a hearing has heard is what one hears that begins now, whatever happened before.
func TestHearing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h hearing
	var e table.Editor[netip.Addr, *l2.Address]
	answered := 0
	for step := range 300 {
		for range r.IntN(4) {
			addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(r.IntN(8))})
			a := &l2.Address{Addr: addr, Confirmed: r.IntN(3) > 0}
			for i := range r.IntN(3) {
				a.Presences = append(a.Presences, l2.Presence{Interface: fmt.Sprint("eth", i), Phase: l2.Phase(r.IntN(6))})
			}
			if r.IntN(8) == 0 {
				a.Conflict = l2.Claim{MAC: l2.MAC{byte(r.IntN(3))}, Interface: "eth0"}
			}
			if r.IntN(8) == 0 {
				a.Contenders = []l2.Claim{{MAC: l2.MAC{byte(r.IntN(3))}}}
			}
			if e.Set(addr, a); r.IntN(5) == 0 {
				e.Delete(addr)
			}
		}
		now := l2.Seen{Addresses: e.Table()}
		var fresh hearing
		want, got := fresh.next(func() l2.Seen { return now }), h.next(func() l2.Seen { return now })
		list := func(h heard) (out []string) {
			for addr, on := range h.answered.All() {
				out = append(out, fmt.Sprint(addr, on))
			}
			return append(out, fmt.Sprint(h.held, h.conflicts, len(h.contended), h.answering()))
		}
		if diff := cmp.Diff(list(want), list(got)); diff != "" {
			t.Fatalf("step %d (-fresh +remembering):\n%s", step, diff)
		}
		answered += len(got.held)
	}
	if answered < 500 {
		t.Errorf("%d answered: the history is too simple", answered)
	}
}
