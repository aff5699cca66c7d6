// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"context"
	"io"
	"net/netip"
)

// A Protocol is one by which hosts ask for hardware addresses.
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

// A Network is where an Announcer finds its interfaces. Kernel is the real one.
type Network interface {
	// Watch calls changed with all links of the node, sorted by index, now and
	// whenever one has changed, until ctx ends; then it returns nil.
	Watch(ctx context.Context, changed func([]Link)) error

	// Open returns a port that receives what concerns the protocol on a link.
	Open(link Link, protocol Protocol) (Port, error)
}

// A Port sends and receives whole Ethernet frames on one link. Read returns one
// frame, without a VLAN tag; Close interrupts it. The methods may be called at
// the same time, except for Join and Leave, which are called one at a time and
// not after Close.
type Port interface {
	io.ReadWriteCloser

	// Join makes the link receive what is sent to an IPv6 group, and lets the
	// network know. Leave ends that. A group can be joined several times, and
	// is left as often.
	Join(group netip.Addr) error
	Leave(group netip.Addr) error
}
