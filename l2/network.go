// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"context"
	"io"
	"net/netip"
)

// A Protocol is a way to resolve addresses to hardware addresses.
type Protocol int

// The protocols.
const (
	ARP Protocol = iota // for IPv4
	NDP                 // for IPv6
	protocols
)

// String returns the name of the constant.
func (p Protocol) String() string {
	if p == NDP {
		return "NDP"
	}
	return "ARP"
}

// protocolOf returns the protocol that serves an address.
func protocolOf(addr netip.Addr) Protocol {
	if addr.Is4() {
		return ARP
	}
	return NDP
}

// A Network provides an Announcer's interfaces. Kernel is the real one.
type Network interface {
	// Watch calls changed with all links of the node, sorted by index, at once and after
	// every change. It returns nil when ctx ends.
	Watch(ctx context.Context, changed func([]Link)) error

	// Open returns a port that receives the frames of the protocol on a link.
	Open(link Link, protocol Protocol) (Port, error)
}

// A Port sends and receives whole Ethernet frames on one link. Read returns one frame,
// without a VLAN tag. Close interrupts Read. The methods may be called concurrently, but
// Join and Leave only one at a time and not after Close.
type Port interface {
	io.ReadWriteCloser

	// Join makes the link receive packets to an IPv6 group, and tells the network by an
	// MLD report. Leave ends that. A group that is joined several times has to be left
	// as often.
	Join(group netip.Addr) error
	Leave(group netip.Addr) error
}
