// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"fmt"
	"net/netip"

	"github.com/mdlayher/arp"
)

// hardwareEthernet is ARP's number for Ethernet.
const hardwareEthernet = 1

// parseARP reads an ARP packet for IPv4 on Ethernet. It trusts no length in the packet.
func parseARP(b []byte) (*arp.Packet, error) {
	var p arp.Packet
	if err := p.UnmarshalBinary(b); err != nil {
		return nil, fmt.Errorf("parse ARP packet: %w", err)
	}
	if p.HardwareType != hardwareEthernet || p.HardwareAddrLength != 6 || p.ProtocolType != 0x0800 || p.IPLength != 4 {
		return nil, fmt.Errorf("parse ARP packet: hardware type %d, protocol type %#04x", p.HardwareType, p.ProtocolType)
	}
	return &p, nil
}

// arpFrame returns the frame of an ARP packet. Frame and packet have the same sender.
func arpFrame(dst MAC, op arp.Operation, senderMAC MAC, sender netip.Addr, targetMAC MAC, target netip.Addr) []byte {
	p, err := arp.NewPacket(op, senderMAC[:], sender, targetMAC[:], target)
	if err != nil {
		panic(fmt.Sprintf("l2: make ARP packet from %s to %s: %v", sender, target, err)) // both are IPv4
	}
	b, err := p.MarshalBinary()
	if err != nil {
		panic(fmt.Sprintf("l2: write ARP packet: %v", err)) // it never fails
	}
	frame := make([]byte, 0, ethernetLen+len(b))
	frame = ethernet{dst: dst, src: senderMAC, kind: etherARP}.append(frame)
	return append(frame, b...)
}

// arpAnnouncements returns the two forms of gratuitous ARP: some hosts update their
// tables only from requests, others only from replies. In the reply the target is the
// sender in both fields (RFC 5944, Section 4.6).
func arpAnnouncements(mac MAC, addr netip.Addr) [][]byte {
	return [][]byte{
		arpFrame(broadcast, arp.OperationRequest, mac, addr, MAC{}, addr),
		arpFrame(broadcast, arp.OperationReply, mac, addr, mac, addr),
	}
}

// arpProbe returns a request for an address that changes no host's tables. RFC 5227,
// Section 2.1.1.
func arpProbe(mac MAC, addr netip.Addr) []byte {
	return arpFrame(broadcast, arp.OperationRequest, mac, netip.IPv4Unspecified(), MAC{}, addr)
}

// arpQuestion returns a request that only one host gets, and which changes no table.
func arpQuestion(dst, mac MAC, addr netip.Addr) []byte {
	frame := arpProbe(mac, addr)
	copy(frame, dst[:])
	return frame
}

// answerARP decides how to treat an ARP frame.
func (v *view) answerARP(frame []byte) verdict {
	eth, payload, ok := parseEthernet(frame)
	if !ok || eth.kind != etherARP {
		return verdict{drop: Malformed}
	}
	p, err := parseARP(payload)
	if err != nil {
		return verdict{drop: Malformed}
	}
	sender := macOf(p.SenderHardwareAddr)
	if eth.src == v.mac || sender == v.mac {
		return verdict{drop: FromSelf}
	}
	var out verdict
	if v.roles[p.SenderIP] != nil {
		out.claim = claim{
			addr:    p.SenderIP,
			mac:     sender,
			answers: p.Operation == arp.OperationReply && eth.dst == v.mac,
			forged:  eth.src != sender,
		}
	}
	role := v.roles[p.TargetIP]
	switch {
	case p.Operation != arp.OperationRequest:
		out.drop = NotRequest
	case eth.dst != broadcast && eth.dst != v.mac:
		out.drop = NotForUs
	case p.SenderIP == p.TargetIP:
		out.drop = Gratuitous
	case role == nil:
		out.drop = NotAnnounced
	case role.silent.Load() && !role.stepsIn(sender, eth.dst == v.mac):
		out.drop = Unclaimed
		if p.SenderIP.IsUnspecified() {
			// Another host is about to take the address too. RFC 5227, Section 2.1.1.
			out.claim = claim{addr: p.TargetIP, mac: sender, asks: true, forged: eth.src != sender}
		}
	default:
		// A probe is answered like any other request: that defends the address.
		out.role = role
		out.reply = arpFrame(sender, arp.OperationReply, v.mac, p.TargetIP, sender, p.SenderIP)
	}
	return out
}
