// SPDX-License-Identifier: Apache-2.0

package members

import (
	"net/netip"
	"strconv"
	"testing"
)

// BenchmarkPublish measures what one more address, or one less, takes of an agent that announces
// many, until its View has it, and of another agent that hears of it.
func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{1000, 10000} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			l := New(Options{Node: "n1"})
			var all []netip.Addr
			for i := range size {
				all = append(all, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
			}
			some := all[1:]
			l.Publish(State{Held: some})
			l.outbox = nil
			b.ReportAllocs()
			for b.Loop() {
				for _, held := range [][]netip.Addr{all, some} {
					l.Publish(State{Held: held})
					if n := len(l.View().Members[0].Held); n != len(held) {
						b.Fatalf("%d addresses", n)
					}
					l.outbox = l.outbox[:0]
				}
			}
		})
		b.Run(strconv.Itoa(size)+"/heard", func(b *testing.B) {
			d := delegate{New(Options{Node: "n1"})}
			d.SetNodes([]Node{{Name: "n1"}, {Name: "n2"}})
			d.NotifyJoin(member("n2", 7))
			items := map[item]change{}
			for i := range size {
				items[item{kind: held, addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})}] = change{seq: 1}
			}
			d.NotifyMsg(message{node: "n2", record: &record{epoch: 7, base: 1, items: items}}.append(nil))
			seq := uint64(1)
			b.ReportAllocs()
			for b.Loop() {
				for _, gone := range []bool{true, false} {
					seq++
					news := map[item]change{{kind: held, addr: netip.AddrFrom4([4]byte{10, 0, 0, 7})}: {seq: seq, gone: gone}}
					d.NotifyMsg(message{node: "n2", record: &record{epoch: 7, items: news}}.append(nil))
					if n := len(d.View().Members[1].Held); (n == size) == gone {
						b.Fatalf("%d addresses", n)
					}
				}
				d.queue.Reset()
			}
		})
	}
}
