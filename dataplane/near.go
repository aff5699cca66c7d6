// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// NearSocket returns the Control function of a Dialer to an address of a Service. It keeps
// the packets of a socket on this node and its networks, so that no router and no data plane
// of another node leads them on.
//
// kube-proxy in IPVS mode has the addresses on an interface of the node. Then no packet to
// them leaves the node unless IPVS sends it on, which counts as a hop.
func NearSocket(addr netip.Addr) func(network, address string, c syscall.RawConn) error {
	hops := 1
	if onNode(addr) {
		hops = 2
	}
	return func(network, _ string, c syscall.RawConn) error {
		var set error
		err := c.Control(func(fd uintptr) {
			if strings.HasSuffix(network, "6") {
				set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, hops)
			} else {
				set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, hops)
			}
		})
		return errors.Join(err, set)
	}
}

// onNode reports whether an interface of the node has an address. The kernel then chooses
// the address itself as the source. Nothing is sent.
func onNode(addr netip.Addr) bool {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 9)))
	if err != nil {
		return false
	}
	defer c.Close()
	from, ok := c.LocalAddr().(*net.UDPAddr)
	return ok && from.AddrPort().Addr().Unmap() == addr
}
