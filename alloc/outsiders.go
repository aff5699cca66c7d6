// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
)

// An Outsider is a Service whose addresses another load balancer assigns.
type Outsider struct {
	Service Key
	Whose   string       // completes "a Service …", as in "of class red"; not empty
	Addrs   []netip.Addr // in its status, in pools or not, each once
}

// Outsiders replaces the outsiders. Their addresses count as in use, and are assigned to
// no Service, neither automatically nor by name. A Service that holds one of them already
// keeps it; Clash reports that. Sharing and quotas do not apply to outsiders, and Get and
// Services do not return them.
//
// If two have the same key, the first counts. The sequence may reuse the memory of Addrs.
// An outsider without a change costs one look-up.
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
			h = a.admit(o)
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

// SetOutsider replaces one outsider; without addresses it is none. It returns the Services
// of which Clash may return something else now.
func (a *Allocator) SetOutsider(o Outsider) (met []Key) {
	h := a.outsiders[o.Service]
	if h == nil && len(o.Addrs) == 0 || h != nil && h.outside == o.Whose && slices.Equal(h.addrs, o.Addrs) {
		return nil
	}
	meet := func(addrs []netip.Addr) {
		for _, addr := range addrs {
			for _, user := range a.users[addr] {
				if isOurs(user) {
					met = append(met, user.service)
				}
			}
		}
	}
	if h != nil {
		meet(h.addrs)
		a.expel(h)
	}
	if len(o.Addrs) > 0 {
		meet(o.Addrs)
		a.admit(o).round = a.round
	}
	return met
}

// admit enters the addresses of an outsider.
func (a *Allocator) admit(o Outsider) *holding {
	h := &holding{service: o.Service, outside: o.Whose, addrs: slices.Clone(o.Addrs)}
	a.outsiders[o.Service] = h
	for _, addr := range h.addrs {
		a.enter(addr, h)
	}
	return h
}

// expel frees the addresses of an outsider.
func (a *Allocator) expel(h *holding) {
	delete(a.outsiders, h.service)
	for _, addr := range h.addrs {
		a.exit(addr, h)
	}
}

// Clash returns the outsider that has addr although a Service of the Allocator holds it,
// the first by key if there are several. It is free while there is no clash.
func (a *Allocator) Clash(addr netip.Addr) (o Outsider, ok bool) {
	if a.clashes == 0 || !clashing(a.users[addr]) {
		return Outsider{}, false
	}
	h := a.users.outsider(addr)
	return Outsider{h.service, h.outside, slices.Clone(h.addrs)}, true
}

// clashing reports whether an address has both outsiders and other Services as users.
func clashing(users []*holding) bool {
	return len(users) > 1 && slices.ContainsFunc(users, isOutsider) && slices.ContainsFunc(users, isOurs)
}

func isOutsider(h *holding) bool { return h.outside != "" }

func isOurs(h *holding) bool { return h.outside == "" }

// outsider returns the first outsider that has addr; nil if none does.
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

// ours reports whether a Service of the Allocator holds addr.
func (u users) ours(addr netip.Addr) bool {
	return slices.ContainsFunc(u[addr], isOurs)
}

// intrusion returns the Refusal of an address that an outsider has; nil if none does.
func (u users) intrusion(addr netip.Addr) *Refusal {
	if h := u.outsider(addr); h != nil {
		return refuse(AddressInUse, "%s is in use by %s, a Service %s", addr, h.service, h.outside)
	}
	return nil
}

// outsideNote returns a text with the number of addresses of outsiders; empty if there
// are none.
func (s *space) outsideNote() string {
	if s.outside == 0 {
		return ""
	}
	return fmt.Sprintf(", %d of them by other load balancers", s.outside)
}
