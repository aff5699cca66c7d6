// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// A Reservation keeps an address of a pool for a Service. Several may keep one
// address for Services that are to share it.
type Reservation struct {
	Addr      netip.Addr
	Namespace string
	Service   string
}

// String returns r as ParseReservations reads it.
func (r Reservation) String() string {
	return fmt.Sprintf("%s=%s/%s", r.Addr, r.Namespace, r.Service)
}

// ParseReservations reads "192.0.2.5=shop/web, 2001:db8::5=shop/web" for a
// pool, which must contain the addresses and be able to give them out. A
// Service can have one address of each family. An empty text has none.
func ParseReservations(text string, pool Pool) ([]Reservation, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var out []Reservation
	for item := range strings.SplitSeq(text, ",") {
		r, err := parseReservation(strings.TrimSpace(item))
		if err != nil {
			return nil, err
		}
		switch {
		case !slices.ContainsFunc(pool.Addresses, func(rng Range) bool { return rng.Contains(r.Addr) }):
			return nil, fmt.Errorf("invalid reservation %s: the pool does not contain the address", quote(r.String()))
		case pool.AvoidBuggyIPs && buggy(r.Addr):
			return nil, fmt.Errorf("invalid reservation %s: the pool never assigns addresses ending in .0 and .255", quote(r.String()))
		}
		for _, o := range out {
			if o == r {
				return nil, fmt.Errorf("invalid reservation %s: it is there twice", quote(r.String()))
			}
			if o.Namespace == r.Namespace && o.Service == r.Service && o.Addr.Is4() == r.Addr.Is4() {
				return nil, fmt.Errorf("invalid reservation %s: %s is reserved for that Service already", quote(r.String()), o.Addr)
			}
		}
		out = append(out, r)
	}
	return out, nil
}

func parseReservation(item string) (Reservation, error) {
	addr, service, ok := strings.Cut(item, "=")
	namespace, name, ok2 := strings.Cut(strings.TrimSpace(service), "/")
	if !ok || !ok2 {
		return Reservation{}, fmt.Errorf("invalid reservation %s: want address=namespace/name", quote(item))
	}
	a, err := parseAddr(strings.TrimSpace(addr))
	if err != nil {
		return Reservation{}, fmt.Errorf("invalid reservation %s: %v", quote(item), err)
	}
	for _, s := range []string{namespace, name} {
		if !isName(s) {
			return Reservation{}, fmt.Errorf("invalid reservation %s: %s cannot be a name", quote(item), quote(s))
		}
	}
	return Reservation{a, namespace, name}, nil
}

// isName reports whether a namespace or a Service can have that name.
func isName(s string) bool { return len(validation.IsDNS1123Label(s)) == 0 }

// buggy reports whether avoid-buggy-ips is about a.
func buggy(a netip.Addr) bool {
	return a.Is4() && (a.As4()[3] == 0 || a.As4()[3] == 255)
}
