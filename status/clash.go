// SPDX-License-Identifier: Apache-2.0

package status

import "net/netip"

// A Clash is an address of one of Herald's Services that another load balancer gave to
// one of its own Services.
type Clash struct {
	Addr    netip.Addr `json:"address"`
	Service string     `json:"service"` // Herald's; it keeps the address
	Other   string     `json:"other"`
}
