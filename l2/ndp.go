// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/ndp"
)

const (
	ipv6Len        = 40
	icmpv6         = 58  // the next header of IPv6
	maxHopLimit    = 255 // only packets that passed no router have it: RFC 4861, Section 7.1
	minNeighborLen = 24  // of a solicitation or advertisement, without options
)

// allNodes is the group of all nodes of a link.
var allNodes = netip.MustParseAddr("ff02::1")

// solicitedNode returns the group to which solicitations for an address are sent. RFC
// 4291, Section 2.7.1.
func solicitedNode(addr netip.Addr) netip.Addr {
	a := addr.As16()
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 11: 0x01, 12: 0xff, 13: a[13], 14: a[14], 15: a[15]})
}

// A neighborPacket is a message of neighbor discovery with its IPv6 addresses.
type neighborPacket struct {
	src, dst netip.Addr
	message  ndp.Message
}

// parseNDP reads a neighbor solicitation or advertisement from an IPv6 packet, and checks
// the rules of RFC 4861, Sections 7.1.1 and 7.1.2.
func parseNDP(b []byte) (neighborPacket, error) {
	if len(b) < ipv6Len+minNeighborLen {
		return neighborPacket{}, fmt.Errorf("parse IPv6 packet: %d bytes", len(b))
	}
	length := int(binary.BigEndian.Uint16(b[4:6]))
	if b[0]>>4 != 6 || b[6] != icmpv6 || b[7] != maxHopLimit || length < minNeighborLen || length > len(b)-ipv6Len {
		return neighborPacket{}, errors.New("parse IPv6 packet: not of neighbor discovery")
	}
	src, dst := netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	body := b[ipv6Len : ipv6Len+length]
	if body[1] != 0 {
		return neighborPacket{}, fmt.Errorf("parse ICMPv6 message: code %d", body[1])
	}
	if checksum(src, dst, body) != 0 {
		return neighborPacket{}, errors.New("parse ICMPv6 message: wrong checksum")
	}
	m, err := ndp.ParseMessage(body)
	if err != nil {
		return neighborPacket{}, fmt.Errorf("parse ICMPv6 message: %w", err)
	}
	p := neighborPacket{src: src, dst: dst, message: m}
	return p, p.check()
}

// check checks the rules about the addresses of a message.
func (p neighborPacket) check() error {
	if p.src.IsMulticast() { // no source: RFC 4291, Section 2.7
		return fmt.Errorf("neighbor discovery from group %s", p.src)
	}
	switch m := p.message.(type) {
	case *ndp.NeighborSolicitation:
		if m.TargetAddress.IsMulticast() {
			return fmt.Errorf("neighbor solicitation for group %s", m.TargetAddress)
		}
		if p.src.IsUnspecified() {
			if p.dst != solicitedNode(m.TargetAddress) {
				return fmt.Errorf("neighbor solicitation for %s from nowhere to %s", m.TargetAddress, p.dst)
			}
			if linkLayer(m.Options, ndp.Source) != (MAC{}) {
				return fmt.Errorf("neighbor solicitation for %s from nowhere with a source link-layer address", m.TargetAddress)
			}
		}
		return nil
	case *ndp.NeighborAdvertisement:
		if m.TargetAddress.IsMulticast() {
			return fmt.Errorf("neighbor advertisement of group %s", m.TargetAddress)
		}
		if p.dst.IsMulticast() && m.Solicited {
			return fmt.Errorf("neighbor advertisement to group %s says it was solicited", p.dst)
		}
		return nil
	default:
		return fmt.Errorf("ICMPv6 message of type %v", m.Type())
	}
}

// checksum returns the Internet checksum of an ICMPv6 message with its pseudo-header (RFC
// 4443, Section 2.3). It is zero if the message contains the correct checksum.
func checksum(src, dst netip.Addr, body []byte) uint16 {
	s, d := src.As16(), dst.As16()
	sum := uint32(len(body)) + icmpv6
	for _, part := range [][]byte{s[:], d[:], body} {
		for ; len(part) >= 2; part = part[2:] {
			sum += uint32(binary.BigEndian.Uint16(part))
		}
		if len(part) == 1 {
			sum += uint32(part[0]) << 8
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// linkLayer returns the hardware address of one side in the options, or the zero MAC.
func linkLayer(options []ndp.Option, side ndp.Direction) MAC {
	for _, o := range options {
		if l, ok := o.(*ndp.LinkLayerAddress); ok && l.Direction == side {
			return macOf(l.Addr)
		}
	}
	return MAC{}
}

// ndpFrame returns the frame of a neighbor discovery message.
func ndpFrame(dstMAC, srcMAC MAC, p neighborPacket) []byte {
	body, err := ndp.MarshalMessageChecksum(p.message, p.src, p.dst)
	if err != nil {
		panic(fmt.Sprintf("l2: write %T: %v", p.message, err)) // the target is IPv6
	}
	frame := make([]byte, 0, ethernetLen+ipv6Len+len(body))
	frame = ethernet{dst: dstMAC, src: srcMAC, kind: etherIPv6}.append(frame)
	frame = append(frame, 6<<4, 0, 0, 0)
	frame = binary.BigEndian.AppendUint16(frame, uint16(len(body)))
	frame = append(frame, icmpv6, maxHopLimit)
	frame = append(frame, p.src.AsSlice()...)
	frame = append(frame, p.dst.AsSlice()...)
	return append(frame, body...)
}

// advertisement returns the frame that states that mac has target. Override is set because
// no other host should have it: RFC 4861, Section 7.2.4.
func advertisement(dstMAC, mac MAC, dst, linkLocal, target netip.Addr, solicited bool) []byte {
	return ndpFrame(dstMAC, mac, neighborPacket{src: linkLocal, dst: dst, message: &ndp.NeighborAdvertisement{
		Solicited:     solicited,
		Override:      true,
		TargetAddress: target,
		Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: mac[:]}},
	}})
}

// ndpAnnouncement returns the unsolicited advertisement of an address. RFC 4861,
// Section 7.2.6.
func ndpAnnouncement(mac MAC, linkLocal, addr netip.Addr) []byte {
	return advertisement(multicastMAC(allNodes), mac, allNodes, linkLocal, addr, false)
}

// ndpProbe returns the solicitation of duplicate address detection. RFC 4862,
// Section 5.4.2.
func ndpProbe(mac MAC, addr netip.Addr) []byte {
	group := solicitedNode(addr)
	return ndpFrame(multicastMAC(group), mac, neighborPacket{
		src:     netip.IPv6Unspecified(),
		dst:     group,
		message: &ndp.NeighborSolicitation{TargetAddress: addr},
	})
}

// ndpQuestion returns a solicitation that is answered to its sender. RFC 4861,
// Section 7.2.2.
func ndpQuestion(mac MAC, linkLocal, addr netip.Addr) []byte {
	group := solicitedNode(addr)
	return ndpFrame(multicastMAC(group), mac, neighborPacket{
		src: linkLocal,
		dst: group,
		message: &ndp.NeighborSolicitation{
			TargetAddress: addr,
			Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: mac[:]}},
		},
	})
}

// ndpQuestionTo returns a solicitation that only one host gets. RFC 4861, Section 7.3.3.
func ndpQuestionTo(dst, mac MAC, linkLocal, addr netip.Addr) []byte {
	return ndpFrame(dst, mac, neighborPacket{
		src: linkLocal,
		dst: addr,
		message: &ndp.NeighborSolicitation{
			TargetAddress: addr,
			Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: mac[:]}},
		},
	})
}

// answerNDP decides how to treat a neighbor discovery frame.
func (v *view) answerNDP(frame []byte) verdict {
	eth, payload, ok := parseEthernet(frame)
	if !ok || eth.kind != etherIPv6 {
		return verdict{drop: Malformed}
	}
	p, err := parseNDP(payload)
	if err != nil {
		return verdict{drop: Malformed}
	}
	if eth.src == v.mac {
		return verdict{drop: FromSelf}
	}
	switch m := p.message.(type) {
	case *ndp.NeighborAdvertisement:
		out := verdict{drop: NotRequest}
		if v.roles[m.TargetAddress] != nil {
			mac := cmp.Or(linkLayer(m.Options, ndp.Target), eth.src)
			out.claim = claim{addr: m.TargetAddress, mac: mac, answers: m.Solicited && eth.dst == v.mac, forged: eth.src != mac}
		}
		return out
	case *ndp.NeighborSolicitation:
		return v.answerSolicitation(eth, p, m)
	}
	return verdict{drop: Malformed}
}

// answerSolicitation decides how to treat a neighbor solicitation.
func (v *view) answerSolicitation(eth ethernet, p neighborPacket, m *ndp.NeighborSolicitation) verdict {
	role := v.roles[m.TargetAddress]
	switch {
	case eth.dst != v.mac && eth.dst != multicastMAC(solicitedNode(m.TargetAddress)) && eth.dst != multicastMAC(allNodes):
		return verdict{drop: NotForUs}
	case role == nil:
		return verdict{drop: NotAnnounced}
	case role.silent.Load() && !role.stepsIn(eth.src, eth.dst == v.mac):
		out := verdict{drop: Unclaimed}
		if p.src.IsUnspecified() {
			// Another host is about to take the address too. RFC 4862, Section 5.4.3.
			out.claim = claim{addr: m.TargetAddress, mac: eth.src, asks: true}
		}
		return out
	case p.src.IsUnspecified():
		// Duplicate address detection has no address to answer to: RFC 4861,
		// Section 7.2.4.
		return verdict{role: role, reply: ndpAnnouncement(v.mac, v.linkLocal, m.TargetAddress)}
	}
	// A unicast solicitation often has no such option. The sender is then eth.src.
	to := cmp.Or(linkLayer(m.Options, ndp.Source), eth.src)
	return verdict{role: role, reply: advertisement(to, v.mac, p.src, v.linkLocal, m.TargetAddress, true)}
}
