// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"math/big"
)

// A Pool is how many addresses of a pool are used. A shared address counts once.
// Addresses that avoid-buggy-ips leaves out do not count. The numbers are exact for
// pools of any size.
type Pool struct {
	Name     string   `json:"name"`
	TotalV4  *big.Int `json:"totalIPv4"`
	TotalV6  *big.Int `json:"totalIPv6"`
	InUseV4  int      `json:"inUseIPv4"`
	InUseV6  int      `json:"inUseIPv6"`
	Services int      `json:"services"` // that hold an address of the pool

	// Unused addresses that are kept: reserved by the configuration, or for deleted
	// Services that may come back.
	ReservedV4 int     `json:"reservedIPv4,omitempty"`
	ReservedV6 int     `json:"reservedIPv6,omitempty"`
	RetainedV4 int     `json:"retainedIPv4,omitempty"`
	RetainedV6 int     `json:"retainedIPv6,omitempty"`
	Quota      []Share `json:"quota,omitempty"` // of the namespaces with a limit, sorted by name
}

// A Share is how many addresses of a pool a namespace has and may have.
type Share struct {
	Namespace string `json:"namespace"`
	InUseV4   int    `json:"inUseIPv4"`
	InUseV6   int    `json:"inUseIPv6"`
	Limit     int    `json:"limit"` // of each family
}

// Size returns how many addresses there are, for people: a large power of two as such.
func Size(n *big.Int) string {
	if bits := n.BitLen() - 1; bits > 20 && n.TrailingZeroBits() == uint(bits) {
		return fmt.Sprintf("2^%d", bits)
	}
	return n.String()
}
