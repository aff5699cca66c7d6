// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/lab"
)

// Attributes are what a route carries to a router.
type Attributes struct {
	Communities, Large []string
	LocalPref          uint32 // 0: none
}

func AttributesOf(p lab.Path) Attributes {
	a := Attributes{Communities: slices.Sorted(slices.Values(p.Communities)), Large: slices.Sorted(slices.Values(p.LargeCommunities))}
	if p.LocalPref != nil {
		a.LocalPref = *p.LocalPref
	}
	return a
}

// DefaultLocalPref is what FRR tells iBGP peers when nothing else is configured.
const DefaultLocalPref = 100

// InjectedHop is a next hop for a route that a test injects.
func InjectedHop(p netip.Prefix) netip.Addr {
	if p.Addr().Is4() {
		return EBGP4
	}
	return EBGP6
}
