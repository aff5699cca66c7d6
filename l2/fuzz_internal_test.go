// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

func FuzzAnswerARP(f *testing.F) {
	f.Add(arpFrame(broadcast, arp.OperationRequest, other, asker4, MAC{}, ours4))
	f.Add(arpFrame(broadcast, arp.OperationReply, other, ours4, other, ours4))
	f.Add(arpProbe(other, silent4))
	f.Fuzz(func(t *testing.T, frame []byte) {
		checkVerdict(t, testView().answerARP(frame))
		_, payload, ok := parseEthernet(frame)
		if !ok {
			return
		}
		p, err := parseARP(payload)
		if err != nil {
			return
		}
		got := arpFrame(broadcast, p.Operation, macOf(p.SenderHardwareAddr), p.SenderIP, macOf(p.TargetHardwareAddr), p.TargetIP)
		if want := payload[:28]; !bytes.Equal(got[ethernetLen:], want) {
			t.Fatalf("parse then write changed the packet:\n got %x\nwant %x", got[ethernetLen:], want)
		}
	})
}

func FuzzAnswerNDP(f *testing.F) {
	group := solicitedNode(ours6)
	f.Add(ndpFrame(multicastMAC(group), other, neighborPacket{asker6, group, &ndp.NeighborSolicitation{
		TargetAddress: ours6,
		Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: other[:]}},
	}}))
	f.Add(ndpFrame(own, other, neighborPacket{group, ours6, &ndp.NeighborSolicitation{TargetAddress: ours6}}))
	f.Add(ndpProbe(other, silent6))
	f.Add(ndpAnnouncement(other, asker6, ours6))
	f.Fuzz(func(t *testing.T, frame []byte) {
		checkVerdict(t, testView().answerNDP(frame))
		// The checksum would keep most inputs from getting any further.
		if len(frame) >= ethernetLen+ipv6Len+minNeighborLen {
			checkVerdict(t, testView().answerNDP(withChecksum(frame)))
		}
	})
}

// withChecksum makes the ICMPv6 checksum of a frame right.
func withChecksum(frame []byte) []byte {
	out := bytes.Clone(frame)
	packet := out[ethernetLen:]
	body := packet[ipv6Len:]
	packet[4], packet[5] = byte(len(body)>>8), byte(len(body))
	body[2], body[3] = 0, 0
	sum := checksum(netip.AddrFrom16([16]byte(packet[8:24])), netip.AddrFrom16([16]byte(packet[24:40])), body)
	body[2], body[3] = byte(sum>>8), byte(sum)
	return out
}

// checkVerdict checks what is true of every verdict.
func checkVerdict(t *testing.T, v verdict) {
	t.Helper()
	if (v.drop == Answered) != (v.reply != nil) || (v.reply != nil) != (v.role != nil) {
		t.Fatalf("%s with reply %x", v.drop, v.reply)
	}
	if v.reply == nil {
		return
	}
	if v.role.silent.Load() {
		t.Fatalf("answered for an address that is being probed for: %x", v.reply)
	}
	eth, payload, ok := parseEthernet(v.reply)
	if !ok || eth.src != own {
		t.Fatalf("reply is from %s: %x", eth.src, v.reply)
	}
	if _, err := parseARP(payload); eth.kind == etherARP && err != nil {
		t.Fatalf("reply %x: %v", v.reply, err)
	}
	if _, err := parseNDP(payload); eth.kind == etherIPv6 && err != nil {
		t.Fatalf("reply %x: %v", v.reply, err)
	}
}
