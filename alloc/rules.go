// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// superseded returns the Refusal if req asks for other addresses than keep, the part of
// addrs in its families; nil if it does not.
func superseded(req *Request, keep, addrs []netip.Addr) *Refusal {
	switch {
	case len(keep) == 0:
		return refuse(Superseded, "the Service asks for other families than those of %s", join(addrs))
	case len(keep) > 2, len(keep) == 2 && familyOf(keep[0]) == familyOf(keep[1]):
		return refuse(Superseded, "%s is more than one address of a family", join(keep))
	case len(req.Addrs) > 0 && !sameSet(keep, req.Addrs):
		return refuse(Superseded, "the Service asks for %s, not %s", join(req.Addrs), join(keep))
	}
	return nil
}

// check returns the pool that contains addrs, or why the Service of req may not have them.
func (a *Allocator) check(req *Request, addrs []netip.Addr) (*pool, error) {
	var p *pool
	for _, addr := range addrs {
		s, _, ok := a.locate(addr)
		switch {
		case !ok:
			return nil, refuse(AddressNotInPool, "%s is in no pool", addr)
		case s.excludes(addr):
			return nil, refuse(AddressExcluded, "address %s is excluded by avoid-buggy-ips of pool %s", addr, s.pool.name)
		case p != nil && p != s.pool:
			return nil, refuse(AddressNotInPool, "%s are of two pools, %s and %s", join(addrs), p.name, s.pool.name)
		}
		p = s.pool
	}
	if req.Pool != "" && req.Pool != p.name {
		reason := AddressNotInPool
		switch {
		case !a.HasPool(req.Pool):
			return nil, refuse(PoolUnknown, "%s", a.NoPool(req.Pool))
		case len(req.Addrs) == 0:
			reason = Superseded
		}
		return nil, refuse(reason, "%s is in pool %s, not in the requested pool %s", join(addrs), p.name, req.Pool)
	}
	if !p.allows(req) {
		return nil, notAllowed(p, req)
	}
	for _, addr := range addrs {
		if r := a.users.conflict(req, addr); r != nil {
			return nil, r
		}
	}
	return p, nil
}

// claimable returns the part of addrs that the Service of req would get, or why it may not
// have them.
func (a *Allocator) claimable(req *Request, addrs []netip.Addr) ([]netip.Addr, error) {
	keep := req.Families.trim(addrs)
	if r := superseded(req, keep, addrs); r != nil {
		return nil, r
	}
	if _, err := a.check(req, keep); err != nil {
		return nil, err
	}
	return keep, nil
}

// grant gives the Service of req the addresses that it asks for.
func (a *Allocator) grant(req *Request) (Assignment, error) {
	addrs, err := a.claimable(req, req.Addrs)
	if err != nil {
		return Assignment{}, err
	}
	for _, addr := range addrs {
		if r := a.users.intrusion(addr); r != nil {
			return Assignment{}, r
		}
		if s, _, _ := a.assignable(addr); s.withholds(req, addr) {
			return Assignment{}, s.withheld(req, addr)
		}
	}
	return a.hold(req, slices.Clone(addrs)), nil
}

func notAllowed(p *pool, req *Request) *Refusal {
	return refuse(PoolNotAllowed, "pool %s is not for Service %s", p.name, req.Service)
}

// refusal returns why no pool can serve req.
func (a *Allocator) refusal(req *Request) *Refusal {
	var tried []*pool
	for _, p := range slices.Concat(a.pinned, a.open) {
		if p.allows(req) {
			tried = append(tried, p)
		}
	}
	switch {
	case len(a.pools) == 0:
		return refuse(NoPool, "there are no pools")
	case len(tried) == 0:
		return refuse(NoPool, "no pool assigns addresses to Service %s by itself%s", req.Service, a.missed(req))
	}
	r := shortage(tried, req.Service, req.Families)
	r.Detail += a.missed(req)
	return r
}

// missed returns a text with the users of addresses that are reserved for the Service of
// req; empty if there are none.
func (a *Allocator) missed(req *Request) string {
	if len(a.kept.reservedFor) == 0 {
		return ""
	}
	var b strings.Builder
	for _, addr := range a.kept.reservedFor[req.Service] {
		r := a.users.conflict(req, addr)
		if r == nil {
			r = a.users.intrusion(addr)
		}
		if s, _, ok := a.assignable(addr); ok && r == nil {
			r = s.estranged(req, addr)
		}
		if r != nil && req.Families.wants(familyOf(addr)) {
			fmt.Fprintf(&b, "; of what is reserved for it, %s", r)
		}
	}
	return b.String()
}

// sameSet reports whether both have the same addresses: at most two, without repetition.
func sameSet(x, y []netip.Addr) bool {
	if len(x) != len(y) {
		return false
	}
	for _, addr := range x {
		if !slices.Contains(y, addr) {
			return false
		}
	}
	return true
}
