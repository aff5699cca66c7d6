// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"cmp"
	"net/netip"

	"github.com/heraldlb/herald/port"
)

// A Key names a Service.
type Key struct{ Namespace, Name string }

// String returns "namespace/name".
func (k Key) String() string { return k.Namespace + "/" + k.Name }

func (k Key) compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Namespace, o.Namespace), cmp.Compare(k.Name, o.Name))
}

// A Request is the addresses that a Service asks for, and what decides whether it may
// have them.
type Request struct {
	Service         Key               // required
	UID             string            // distinguishes the Service from an earlier one of the same name
	Labels          map[string]string // of the Service
	NamespaceLabels map[string]string
	Families        Families     // required
	Addrs           []netip.Addr // exactly these; empty: any
	Pool            string       // only from this pool; empty: any that assigns automatically
	SharingKey      string       // empty: the address is not shared
	ShareWith       []string     // the other namespaces that may share it; nil: those that the pool lets
	Backend         Backend
	Ports           port.Set
}

// Families are the address families that a Service wants.
type Families uint8

// The Families. Two addresses are from the same pool.
const (
	IPv4       Families = iota + 1
	IPv6                // one IPv6 address
	DualStack           // one of each, or nothing
	PreferIPv4          // one of each, else only IPv4, else only IPv6
	PreferIPv6          // one of each, else only IPv6, else only IPv4
)

// Lacks reports whether addrs are fewer than f asks for.
func (f Families) Lacks(addrs []netip.Addr) bool {
	return len(addrs) < f.count()
}

func (f Families) wants(fam family) bool {
	switch f {
	case IPv4:
		return fam == v4
	case IPv6:
		return fam == v6
	default:
		return true
	}
}

func (f Families) count() int {
	if f == IPv4 || f == IPv6 {
		return 1
	}
	return 2
}

// trim returns addrs without those of a family that f does not want.
func (f Families) trim(addrs []netip.Addr) []netip.Addr {
	for i, addr := range addrs {
		if f.wants(familyOf(addr)) {
			continue
		}
		kept := append([]netip.Addr(nil), addrs[:i]...)
		for _, addr := range addrs[i+1:] {
			if f.wants(familyOf(addr)) {
				kept = append(kept, addr)
			}
		}
		return kept
	}
	return addrs
}

// A family is an index of arrays with an element for each address family.
type family int

const (
	v4 family = iota
	v6
)

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return v4
	}
	return v6
}

func (f family) String() string {
	if f == v4 {
		return "IPv4"
	}
	return "IPv6"
}

// A Backend is where the traffic of a Service goes. Services can share an address only if
// their Backends are equal: a router sends the traffic of an address to one set of nodes.
//
// The zero Backend is external traffic policy Cluster, which every node serves. Unlike
// MetalLB's, it differs from Local with an empty selector: such a Service is served by
// the nodes of endpoints that were written by hand.
type Backend struct {
	Local     bool   // external traffic policy Local
	Namespace string // of the pods; empty unless Local
	Selector  string // of the pods; empty unless Local
}

// An Assignment is the addresses of a Service.
type Assignment struct {
	Addrs []netip.Addr // one or two, of different families; read-only
	Pool  string       // empty: the pools no longer contain all of them
}
