// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Present reports whether an interface that is up has an address. If the address is of
// IPv4, the interface also needs one of IPv6, which a new session would use as the next
// hop of IPv6 routes.
func Present(addr netip.Addr) bool {
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	return err == nil && presentIn(addrs, addr, running)
}

// presentIn does the work of Present with the addresses of all interfaces.
func presentIn(addrs []netlink.Addr, addr netip.Addr, running func(index int) bool) bool {
	const unusable = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED
	here := func(a netlink.Addr) netip.Addr {
		ip, _ := netip.AddrFromSlice(a.IP)
		return ip.Unmap()
	}
	for _, a := range addrs {
		if here(a) != addr || !running(a.LinkIndex) {
			continue
		}
		if addr.Is6() || slices.ContainsFunc(addrs, func(o netlink.Addr) bool {
			ip := here(o)
			return o.LinkIndex == a.LinkIndex && ip.Is6() && ip.IsGlobalUnicast() && o.Flags&unusable == 0
		}) {
			return true
		}
	}
	return false
}

// running reports whether an interface is up and has a carrier.
func running(index int) bool {
	link, err := netlink.LinkByIndex(index)
	const up = unix.IFF_UP | unix.IFF_RUNNING
	return err == nil && link.Attrs().RawFlags&up == up
}
