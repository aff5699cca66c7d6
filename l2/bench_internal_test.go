// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"net/netip"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
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
