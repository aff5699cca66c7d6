// SPDX-License-Identifier: Apache-2.0

package dataplane_test

import (
	"net"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/dataplane"
)

// Packets to an address make no hop. To one that is on the node, as IPVS has them, they make
// one: IPVS counts as a hop.
func TestNearSocket(t *testing.T) {
	for text, want := range map[string]int{"192.0.2.1": 1, "127.0.0.1": 2, "2001:db8::1": 1, "::1": 2} {
		addr := netip.MustParseAddr(text)
		network, level, option := "tcp4", unix.IPPROTO_IP, unix.IP_TTL
		if addr.Is6() {
			network, level, option = "tcp6", unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS
		}
		near := dataplane.NearSocket(addr)
		got := 0
		config := net.ListenConfig{Control: func(n, a string, c syscall.RawConn) error {
			if err := near(network, a, c); err != nil {
				return err
			}
			return c.Control(func(fd uintptr) { got, _ = unix.GetsockoptInt(int(fd), level, option) })
		}}
		loopback := map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"}[network]
		l, err := config.Listen(t.Context(), network, loopback)
		if err != nil {
			t.Fatal(err)
		}
		if l.Close(); got != want {
			t.Errorf("%s: %d hops, want %d", text, got, want)
		}
	}
}
