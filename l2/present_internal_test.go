// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestPresent(t *testing.T) {
	if Present(netip.MustParseAddr("192.0.2.77")) {
		t.Error("an address of nobody is present")
	}
	on := func(index int, prefix string, flags int) netlink.Addr {
		a, err := netlink.ParseAddr(prefix)
		if err != nil {
			t.Fatal(err)
		}
		a.LinkIndex, a.Flags = index, flags
		return *a
	}
	addrs := []netlink.Addr{
		on(1, "127.0.0.1/8", 0), on(1, "::1/128", 0),
		on(2, "10.0.0.2/24", 0), on(2, "fd00::2/64", 0), on(2, "fe80::2/64", 0),
		on(3, "10.0.0.3/24", 0), on(3, "fe80::3/64", 0),
		on(4, "10.0.0.4/24", 0), on(4, "fd00::4/64", unix.IFA_F_TENTATIVE),
		on(5, "10.0.0.5/24", 0), on(5, "fd00::5/64", unix.IFA_F_DADFAILED),
		on(6, "10.0.0.6/24", 0), on(6, "fd00::6/64", 0), // down
	}
	for addr, want := range map[string]bool{
		"10.0.0.2": true, "fd00::2": true, "127.0.0.1": false, "10.0.0.3": false, "10.0.0.4": false, "10.0.0.5": false,
		"10.0.0.6": false, "fd00::6": false, "fd00::7": false,
	} {
		if got := presentIn(addrs, netip.MustParseAddr(addr), func(index int) bool { return index != 6 }); got != want {
			t.Errorf("%s is present: %v, want %v", addr, got, want)
		}
	}
}
