// SPDX-License-Identifier: Apache-2.0

package status

import "net/netip"

// A Clash is an address of a Service of Herald that another load balancer gave to
// a Service of its own.
type Clash struct {
	Addr    netip.Addr `json:"address"`
	Service string     `json:"service"` // Herald's; it keeps the address
	Other   string     `json:"other"`
}
