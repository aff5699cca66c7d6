// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
)

// OnLAN returns an address of the nodes' LAN.
func OnLAN(host int) netip.Addr { return netip.AddrFrom4([4]byte{10, 10, 0, byte(host)}) }

// OnLAN6 returns the IPv6 address of the same host.
func OnLAN6(host int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fd00:10:10::%d", host)) }
