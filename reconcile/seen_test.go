// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// A SeenMemory finds the same as Seen, whatever happened before.
func TestSeenMemory(t *testing.T) {
	found, gone := 0, 0
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 3))
		peer := func(i int) status.Peer {
			return status.Peer{Name: fmt.Sprint("r", i), Wanted: true, Address: peerAddr(i)}
		}
		seen := reconcile.Seen{Node: "n1", Peers: []status.Peer{peer(0), peer(1)}}
		var decisions table.Editor[cluster.Key, []status.Decision]
		var sent table.Editor[netip.Prefix, []status.PeerID]
		var answered table.Editor[netip.Addr, []string]
		addr := func() netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(r.IntN(12))}) }
		var m reconcile.SeenMemory
		before := 0
		for step := range 80 {
			switch r.IntN(8) {
			case 0, 1, 2:
				key := cluster.Key{Namespace: "ns", Name: fmt.Sprint("s", r.IntN(10))}
				var of []status.Decision
				for range r.IntN(3) {
					d := status.Decision{Service: key.String(), Addr: addr(), Protocol: status.Layer2, Announce: r.IntN(4) > 0}
					if r.IntN(5) == 0 {
						d.Reason = status.HandingOver
					}
					if r.IntN(3) == 0 {
						d.Interfaces = []string{"eth0", "eth1"}[:1+r.IntN(2)]
					}
					if r.IntN(2) == 0 {
						d.Protocol, d.Peers, d.Routes = status.BGP, []string{"r0", "r1", "r2"}[:1+r.IntN(3)], []netip.Prefix{netip.PrefixFrom(d.Addr, 32)}
					}
					of = append(of, d)
				}
				if decisions.Set(key, of); len(of) == 0 {
					decisions.Delete(key)
				}
			case 3, 4:
				route := netip.PrefixFrom(addr(), 32)
				if sent.Set(route, []status.PeerID{peer(r.IntN(2)).ID(), peer(2).ID()}); r.IntN(3) == 0 {
					sent.Delete(route)
				}
			case 5, 6:
				a := addr()
				if answered.Set(a, []string{"eth0", "eth1"}[:r.IntN(3)]); r.IntN(3) == 0 {
					answered.Delete(a)
				}
			case 7:
				seen.Peers = []status.Peer{peer(0), peer(1), peer(2)}[:1+r.IntN(3)]
			}
			seen.Decisions, seen.Sent, seen.Answered = decisions.Table(), sent.Table(), answered.Table()
			var got []reconcile.ServiceStatus
			for key, of := range m.Next(seen).All() {
				if len(of) == 0 {
					t.Fatalf("seed %d, step %d: an empty list for %s", seed, step, key)
				}
				got = append(got, of...)
			}
			if diff := cmp.Diff(seen.ServiceStatuses(), got, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("seed %d, step %d (-Seen +SeenMemory):\n%s", seed, step, diff)
			}
			found += len(got)
			gone += max(0, before-len(got))
			before = len(got)
		}
	}
	if found < 2000 || gone < 50 {
		t.Errorf("%d found, %d gone: the histories are too simple", found, gone)
	}
}
