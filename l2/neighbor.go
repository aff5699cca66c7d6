// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Neighbor is an entry of the kernel's neighbor table.
type Neighbor struct {
	Addr   netip.Addr
	MAC    MAC  // zero: not resolved
	Failed bool // no host answers for the address
}

// resolved are the states in which the kernel knows a hardware address, confirmed or not.
// RFC 4861, Section 7.3.2.
const resolved = unix.NUD_REACHABLE | unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE | unix.NUD_PERMANENT

// Neighbors reads the kernel's neighbor table, of all links and both families.
func Neighbors() ([]Neighbor, error) {
	var out []Neighbor
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		list, err := netlink.NeighList(0, family)
		if err != nil {
			return nil, fmt.Errorf("list neighbors: %w", err)
		}
		for _, e := range list {
			addr, ok := netip.AddrFromSlice(e.IP)
			if !ok {
				continue
			}
			n := Neighbor{Addr: addr.Unmap(), Failed: e.State == unix.NUD_FAILED}
			if e.State&resolved != 0 {
				n.MAC = macOf(e.HardwareAddr)
			}
			out = append(out, n)
		}
	}
	return out, nil
}
