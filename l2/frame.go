// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// A MAC is an Ethernet hardware address. The zero MAC is none.
type MAC [6]byte

var broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// String returns the address as hexadecimal numbers with colons between them.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// MarshalText returns the same as String.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// macOf converts a hardware address; it is zero unless that has six bytes.
func macOf(hw net.HardwareAddr) MAC {
	if len(hw) != len(MAC{}) {
		return MAC{}
	}
	return MAC(hw)
}

// multicastMAC returns the hardware address of an IPv6 group. RFC 2464,
// Section 7.
func multicastMAC(group netip.Addr) MAC {
	b := group.As16()
	return MAC{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

// Ethernet types.
const (
	etherARP  = 0x0806
	etherIPv6 = 0x86dd
)

// ethernetLen is the length of an Ethernet header; the kernel has removed a
// VLAN tag if there was one.
const ethernetLen = 14

// An ethernet is the header of a frame.
type ethernet struct {
	dst, src MAC
	kind     uint16
}

// parseEthernet splits a frame into its header and payload. It reports whether the frame
// is long enough.
func parseEthernet(frame []byte) (ethernet, []byte, bool) {
	if len(frame) < ethernetLen {
		return ethernet{}, nil, false
	}
	return ethernet{
		dst:  MAC(frame[0:6]),
		src:  MAC(frame[6:12]),
		kind: binary.BigEndian.Uint16(frame[12:14]),
	}, frame[ethernetLen:], true
}

// append writes the header to the end of b.
func (e ethernet) append(b []byte) []byte {
	b = append(b, e.dst[:]...)
	b = append(b, e.src[:]...)
	return binary.BigEndian.AppendUint16(b, e.kind)
}
