// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"fmt"
	"net/netip"
	"strings"
)

// A Reason is why a Service cannot have an address, in one word.
type Reason string

// Reasons of a Refusal.
const (
	NoPool            Reason = "NoPool"            // no pool is open to the Service
	PoolUnknown       Reason = "PoolUnknown"       // there is no pool of the requested name
	PoolNotAllowed    Reason = "PoolNotAllowed"    // the pool is for other Services
	PoolExhausted     Reason = "PoolExhausted"     // every address is in use or kept for others
	QuotaExceeded     Reason = "QuotaExceeded"     // the namespace has as many addresses as it may have
	FamilyUnavailable Reason = "FamilyUnavailable" // no pool has the address families asked for
	AddressNotInPool  Reason = "AddressNotInPool"  // no pool, or not the requested one, contains the address
	AddressExcluded   Reason = "AddressExcluded"   // avoid-buggy-ips leaves the address out
	AddressReserved   Reason = "AddressReserved"   // for another Service
	AddressHeld       Reason = "AddressHeld"       // for a deleted Service that may come back
	AddressInUse      Reason = "AddressInUse"      // by a Service that does not share it
	SharingConflict   Reason = "SharingConflict"   // sharing keys or Backends differ
	PortInUse         Reason = "PortInUse"         // by another Service on the shared address
	Superseded        Reason = "Superseded"        // the Service asks for something else now
	Replaced          Reason = "Replaced"          // an earlier Service of the same name holds it
)

// A Refusal is the error of every request that is not granted. Callers branch
// on its Reason.
type Refusal struct {
	Reason Reason
	Detail string // a sentence with names and numbers
}

// Error returns the Detail.
func (r *Refusal) Error() string { return r.Detail }

func refuse(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{reason, fmt.Sprintf(format, args...)}
}

// maxPoolsNamed bounds the length of a Refusal's Detail.
const maxPoolsNamed = 5

// shortage returns why none of pools, which are open to the Service, can provide the
// families. Of several reasons it gives the one that is easiest to remedy.
func shortage(pools []*pool, service Key, wish Families) *Refusal {
	var parts []string
	reason := FamilyUnavailable
	for i, p := range pools {
		part, why := p.shortage(service.Namespace, wish)
		if why == QuotaExceeded || why == PoolExhausted && reason == FamilyUnavailable {
			reason = why
		}
		if i < maxPoolsNamed {
			parts = append(parts, part)
		}
	}
	if more := len(pools) - maxPoolsNamed; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more pools", more))
	}
	return &Refusal{reason, strings.Join(parts, "; ")}
}

func join(addrs []netip.Addr) string {
	var b strings.Builder
	for i, addr := range addrs {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(addr.String())
	}
	return b.String()
}
