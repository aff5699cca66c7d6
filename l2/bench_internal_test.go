// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"context"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/table"
)

// BenchmarkRespond decides and writes the answer to one request, with a
// thousand addresses announced; the system calls around it are not in it.
func BenchmarkRespond(b *testing.B) {
	v := &view{mac: own, linkLocal: ownLL, roles: map[netip.Addr]*role{}}
	for a4, a6, i := ours4, ours6, 0; i < 1000; a4, a6, i = a4.Next(), a6.Next(), i+1 {
		v.roles[a4], v.roles[a6] = &role{count: &counters{}}, &role{count: &counters{}}
	}
	group := solicitedNode(ours6)
	foreign := netip.MustParseAddr("10.0.0.1")
	rows := []struct {
		name   string
		answer func(frame []byte) verdict
		frame  []byte
		want   Drop
	}{
		{"ARP", v.answerARP, arpFrame(broadcast, arp.OperationRequest, other, asker4, MAC{}, ours4), Answered},
		{"ARP-of-others", v.answerARP, arpFrame(broadcast, arp.OperationRequest, other, asker4, MAC{}, foreign), NotAnnounced},
		{"NDP", v.answerNDP, ndpFrame(multicastMAC(group), other, neighborPacket{asker6, group, &ndp.NeighborSolicitation{
			TargetAddress: ours6,
			Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: other[:]}},
		}}), Answered},
	}
	for _, row := range rows {
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got := row.answer(row.frame).drop; got != row.want {
					b.Fatal(got)
				}
			}
		})
	}
}

// A deaf network has one interface on which nothing is heard.
type deaf struct{}

func (deaf) Watch(ctx context.Context, _ func([]Link)) error { <-ctx.Done(); return ctx.Err() }
func (deaf) Open(Link, Protocol) (Port, error)               { return deafPort{}, nil }

type deafPort struct{}

func (deafPort) Read([]byte) (int, error)    { select {} }
func (deafPort) Write(b []byte) (int, error) { return len(b), nil }
func (deafPort) Join(netip.Addr) error       { return nil }
func (deafPort) Leave(netip.Addr) error      { return nil }
func (deafPort) Close() error                { return nil }

// BenchmarkSet measures what one more address, or one less, takes of an Announcer with many.
func BenchmarkSet(b *testing.B) {
	for _, size := range []int{1000, 10000} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			a := New(Options{Network: deaf{}})
			a.change(func(in *input) bool {
				in.links = []Link{{Index: 2, Name: "eth0", MAC: own, Up: true, Broadcast: true}}
				return true
			})
			var tasks errgroup.Group
			e := newEngine(a, &tasks)
			e.begun = time.Now()
			var edit table.Editor[netip.Addr, *Announcement]
			for i := range size {
				addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
				edit.Set(addr, &Announcement{Addr: addr})
			}
			all := edit.Table()
			edit.Delete(netip.AddrFrom4([4]byte{10, 0, 0, 7}))
			some := edit.Table()
			step := func(want Wanted) {
				a.SetWanted(want)
				before := e.in
				if e.in = a.take(); e.in.site != before.site || !e.amend(before.want, time.Now()) {
					e.reconcile(time.Now())
				}
				a.publish(e.makeReport(a.last()))
				e.changed = false
			}
			step(some)
			b.ReportAllocs()
			for b.Loop() {
				step(all)
				step(some)
			}
			if n := a.Seen().Addresses.Len(); n != size-1 {
				b.Fatalf("%d addresses", n)
			}
		})
	}
}
