// SPDX-License-Identifier: Apache-2.0

package status

import "math/big"

// A Pool is how full a pool is. A shared address counts once; addresses that
// avoid-buggy-ips leaves out do not count. The numbers are exact however large
// the pool.
type Pool struct {
	Name     string   `json:"name"`
	TotalV4  *big.Int `json:"totalIPv4"`
	TotalV6  *big.Int `json:"totalIPv6"`
	InUseV4  int      `json:"inUseIPv4"`
	InUseV6  int      `json:"inUseIPv6"`
	Services int      `json:"services"` // that hold an address of the pool
}
