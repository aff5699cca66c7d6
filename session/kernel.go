// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/kernel"
	"github.com/heraldlb/herald/status"
)

// pingWait is how long a router may take to answer a ping.
const pingWait = 500 * time.Millisecond

// A sight is what the kernel knows at one moment of connections that are not
// established.
type sight struct {
	signatures kernel.Signatures
	sockets    bool // the fields below are known
	connecting []kernel.Connection
	silent     map[netip.Addr]bool // addresses that do not answer ARP
}

// see asks the kernel. It asks for connections only while a session is down.
func see(down bool) sight {
	var s sight
	s.signatures, _ = kernel.ReadSignatures() // a diagnosis does without them
	if !down {
		return s
	}
	connecting, err := kernel.ReadConnecting()
	if err != nil {
		return s // where a policy forbids it, a diagnosis does without
	}
	s.sockets, s.connecting = true, connecting
	s.silent, _ = kernel.ReadSilent()
	return s
}

// ping reports whether a router answers. If no ping can be sent, it does not.
func ping(p status.Peer) bool {
	alive, err := kernel.Ping(context.Background(), p.Address, p.VRF, pingWait)
	return err == nil && alive
}

// connectionTo returns the connection that waits for an answer of a peer.
func (s sight) connectionTo(p status.Peer) (kernel.Connection, bool) {
	port := p.Port
	if port == 0 {
		port = 179
	}
	i := slices.IndexFunc(s.connecting, func(c kernel.Connection) bool {
		switch {
		case c.Remote.Port() != port:
			return false
		case p.Address.IsValid():
			return c.Remote.Addr() == p.Address.WithZone("")
		}
		return c.Remote.Addr().IsLinkLocalUnicast() && c.Interface != 0 && kernel.InterfaceName(c.Interface) == p.Interface
	})
	if i < 0 {
		return kernel.Connection{}, false
	}
	return s.connecting[i], true
}
