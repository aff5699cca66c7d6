// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
)

// An Outsider is a Service that another load balancer gives its addresses.
type Outsider struct {
	Service Key
	Whose   string       // completes "a Service …", as in "of class red"; not empty
	Addrs   []netip.Addr // that its status shows, in pools or not, each once
}

// Outsiders replaces the outsiders. The addresses that they have are given to
// nobody, neither automatically nor by name, and count as in use. A Service that
// holds one of them already keeps it: Clash tells. Neither sharing nor a quota
// applies to outsiders, and Get and Services do not return them.
//
// Of two for one Service the first counts. The sequence may use the memory of
// Addrs again. An outsider that has what it had before costs a look-up.
func (a *Allocator) Outsiders(all iter.Seq[Outsider]) {
	a.round++
	named := 0
	for o := range all {
		h := a.outsiders[o.Service]
		switch {
		case h != nil && h.round == a.round:
			continue
		case h == nil || h.outside != o.Whose || !slices.Equal(h.addrs, o.Addrs):
			if h != nil {
				a.expel(h)
			}
			h = &holding{service: o.Service, outside: o.Whose, addrs: slices.Clone(o.Addrs)}
			a.outsiders[o.Service] = h
			for _, addr := range h.addrs {
				a.enter(addr, h)
			}
		}
		h.round = a.round
		named++
	}
	if named == len(a.outsiders) {
		return
	}
	for _, h := range a.outsiders {
		if h.round != a.round {
			a.expel(h)
		}
	}
}

// expel frees what an outsider has.
func (a *Allocator) expel(h *holding) {
	delete(a.outsiders, h.service)
	for _, addr := range h.addrs {
		a.exit(addr, h)
	}
}

// Clash returns the outsider that has addr though a Service of the Allocator holds
// it, the first by key if there are several. It costs nothing while no address is
// so.
func (a *Allocator) Clash(addr netip.Addr) (o Outsider, ok bool) {
	if a.clashes == 0 || !clashing(a.users[addr]) {
		return Outsider{}, false
	}
	h := a.users.outsider(addr)
	return Outsider{h.service, h.outside, slices.Clone(h.addrs)}, true
}

// clashing reports whether some of the users of an address are outsiders and some
// are not.
func clashing(users []*holding) bool {
	return len(users) > 1 && slices.ContainsFunc(users, isOutsider) && slices.ContainsFunc(users, isOurs)
}

func isOutsider(h *holding) bool { return h.outside != "" }

func isOurs(h *holding) bool { return h.outside == "" }

// outsider returns the first outsider that has addr; nil if none has.
func (u users) outsider(addr netip.Addr) *holding {
	for _, h := range u[addr] {
		if h.outside != "" {
			return h
		}
	}
	return nil
}

// outsiders returns how many outsiders have addr.
func (u users) outsiders(addr netip.Addr) int {
	n := 0
	for _, h := range u[addr] {
		if h.outside != "" {
			n++
		}
	}
	return n
}

// ours reports whether a Service that is no outsider holds addr.
func (u users) ours(addr netip.Addr) bool {
	return slices.ContainsFunc(u[addr], isOurs)
}

// intrusion says which outsider has addr, so that nobody can be given it; nil if
// none has.
func (u users) intrusion(addr netip.Addr) *Refusal {
	if h := u.outsider(addr); h != nil {
		return refuse(AddressInUse, "%s is in use by %s, a Service %s", addr, h.service, h.outside)
	}
	return nil
}

// outsideNote says how many of the addresses in use outsiders have; empty if
// none has any.
func (s *space) outsideNote() string {
	if s.outside == 0 {
		return ""
	}
	return fmt.Sprintf(", %d of them by other load balancers", s.outside)
}
