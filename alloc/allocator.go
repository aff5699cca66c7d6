// SPDX-License-Identifier: Apache-2.0

// Package alloc assigns addresses to Services and keeps track of them.
package alloc

import (
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/excerpt"
	"github.com/heraldlb/herald/port"
)

// An Allocator holds the addresses of pools and the Services that hold them.
// Two Services hold the same address only if both agree to share it. Which address a
// Service gets depends only on the pools and on the addresses in use.
//
// It is not safe for concurrent use: the reconcile loop owns it.
type Allocator struct {
	config []config.Pool
	pools  []*pool // in document order
	pinned []*pool // assign automatically to some Services, in the order of trial
	open   []*pool // assign automatically to all, in the order of trial
	places []place // by first address
	held   map[Key]*holding
	users  users
	kept   *kept

	outsiders map[Key]*holding
	round     int // of Outsiders
	clashes   int // addresses that both outsiders and other Services have

	edition uint64  // see Edition
	usage   []Usage // what Usage returned; nil: it has changed since
}

// A holding is the addresses of a Service, and what decides who may share them.
type holding struct {
	service    Key
	uid        string
	addrs      []netip.Addr // replaced, never changed
	pool       *pool        // that contains addrs; nil: none does
	sharingKey string
	shareWith  []string
	backend    Backend
	ports      port.Set

	outside string // of an outsider: whose Service it is, "of class red"; empty: it is in held
	round   int    // of Outsiders, the last one in which it was named
}

// A place is a range and the space that it belongs to.
type place struct {
	rng   config.Range
	space *space
	index int // in space.ranges
}

// New returns an Allocator of pools with no address in use.
func New(pools []config.Pool) *Allocator {
	a := &Allocator{held: make(map[Key]*holding), users: make(users), kept: newKept(), outsiders: make(map[Key]*holding)}
	a.kept.find = a.assignable
	a.SetPools(pools)
	return a
}

// SetPools replaces the pools. Services keep their addresses, in the pools that contain
// them now. If no pool contains them, the Service holds them until they are released;
// Keep reports that. Setting the same slice again does nothing.
func (a *Allocator) SetPools(pools []config.Pool) {
	if len(pools) == len(a.config) && (len(pools) == 0 || &pools[0] == &a.config[0]) {
		return
	}
	a.config = pools
	a.touch()
	a.pools, a.pinned, a.open, a.places = nil, nil, nil, nil
	a.kept.reserve(pools)
	for _, c := range pools {
		p := newPool(c, a.users, a.kept)
		a.pools = append(a.pools, p)
		for _, s := range p.spaces {
			for i, r := range s.ranges {
				a.places = append(a.places, place{r, s, i})
			}
		}
		switch {
		case !c.AutoAssign:
		case c.Allocation != nil:
			a.pinned = append(a.pinned, p)
		default:
			a.open = append(a.open, p)
		}
	}
	slices.SortStableFunc(a.pinned, byPriority)
	slices.SortFunc(a.places, func(p, q place) int { return p.rng.First.Compare(q.rng.First) })

	for addr, holders := range a.users {
		if s, pos, ok := a.assignable(addr); ok {
			s.take(pos)
			last := "" // no namespace
			for _, h := range holders {
				if h.outside != "" {
					continue
				}
				s.group(pos, h)
				if h.service.Namespace != last {
					s.count(h.service.Namespace, addr, 1)
				}
				last = h.service.Namespace
			}
			if a.users.outsider(addr) != nil {
				s.outside++
			}
		}
	}
	for _, h := range a.held {
		a.findPool(h)
	}
}

// Len returns how many Services hold addresses.
func (a *Allocator) Len() int { return len(a.held) }

// Services returns the Services that hold addresses, in no order.
func (a *Allocator) Services() iter.Seq[Key] { return maps.Keys(a.held) }

// Get returns the addresses of a Service.
func (a *Allocator) Get(service Key) (Assignment, bool) {
	h := a.held[service]
	if h == nil {
		return Assignment{}, false
	}
	return h.assignment(), true
}

// NoPool returns a message that there is no pool of that name, with the closest name.
func (a *Allocator) NoPool(name string) string {
	names := make([]string, len(a.pools))
	for i, p := range a.pools {
		names[i] = p.name
	}
	return fmt.Sprintf("there is no pool %s%s", excerpt.Word(name), config.DidYouMean(name, names))
}

// HasPool reports whether there is a pool of that name.
func (a *Allocator) HasPool(name string) bool { return a.poolNamed(name) != nil }

// InPool reports whether a pool contains addr.
func (a *Allocator) InPool(addr netip.Addr) bool {
	_, _, ok := a.locate(addr)
	return ok
}

// Usage returns the usage of each pool, in document order. It returns the same slice until
// something changes; the caller must not change it.
func (a *Allocator) Usage() []Usage {
	if a.usage == nil {
		a.usage = make([]Usage, len(a.pools))
		for i, p := range a.pools {
			a.usage[i] = p.usage()
		}
	}
	return a.usage
}

// Edition returns a number that is another one after each change of the pools, and of what
// is held or kept. As long as it is the same, every request has the same outcome.
func (a *Allocator) Edition() uint64 { return a.edition }

// touch takes note of a change.
func (a *Allocator) touch() {
	a.edition++
	a.usage, a.kept.tallies = nil, nil
}

// Keep returns the addresses of the Service of req if it may keep them, and records what
// decides about sharing. An address of a family that req no longer wants is released.
// The error is a *Refusal, and then nothing changes. A Service without addresses gets
// the zero Assignment.
func (a *Allocator) Keep(req Request) (Assignment, error) {
	h := a.held[req.Service]
	if h == nil {
		return Assignment{}, nil
	}
	if h.uid != req.UID {
		return Assignment{}, refuse(Replaced, "%s is held by an earlier Service %s", join(h.addrs), req.Service)
	}
	if h.pool == nil {
		_, err := a.check(&req, h.addrs)
		return Assignment{}, err
	}
	keep := req.Families.trim(h.addrs)
	if r := superseded(&req, keep, h.addrs); r != nil {
		return Assignment{}, r
	}
	if req.Pool != "" && req.Pool != h.pool.name {
		return Assignment{}, refuse(Superseded, "%s is from pool %s, the Service asks for pool %s", join(h.addrs), h.pool.name, req.Pool)
	}
	if !h.pool.allows(&req) {
		return Assignment{}, notAllowed(h.pool, &req)
	}
	if len(keep) == len(h.addrs) && h.shares(&req) {
		return h.assignment(), nil
	}
	for _, addr := range keep {
		if r := a.users.conflict(&req, addr); r != nil {
			return Assignment{}, r
		}
	}
	return a.hold(&req, keep), nil
}

// Claim gives the Service of req exactly the addresses addrs, in that order, without
// those of a family that req does not want. It is for addresses that the Service has
// already: reservations for others and quotas do not apply. The error is a *Refusal,
// and then nothing changes.
func (a *Allocator) Claim(req Request, addrs []netip.Addr) (Assignment, error) {
	keep, err := a.claimable(&req, addrs)
	if err != nil {
		return Assignment{}, err
	}
	return a.hold(&req, slices.Clone(keep)), nil
}

// Allocate gives the Service of req new addresses in place of its present ones: the
// explicit addresses, or those kept for it, or the first in the first pool that are free
// or can be shared. Pinned pools come first, by priority, then open ones, in document
// order. The error is a *Refusal, and then the Service has no address.
func (a *Allocator) Allocate(req Request) (Assignment, error) {
	a.Release(req.Service)
	if len(req.Addrs) > 0 {
		return a.grant(&req)
	}
	if req.Pool != "" {
		p := a.poolNamed(req.Pool)
		if p == nil {
			return Assignment{}, refuse(PoolUnknown, "%s", a.NoPool(req.Pool))
		}
		if !p.allows(&req) {
			return Assignment{}, notAllowed(p, &req)
		}
		if _, addrs := pick([]*pool{p}, &req); addrs != nil {
			return a.hold(&req, addrs), nil
		}
		return Assignment{}, shortage([]*pool{p}, req.Service, req.Families)
	}
	reserving, retaining := a.keeps(&req)
	for _, tier := range [...][]*pool{reserving, retaining, a.pinned, a.open} {
		if _, addrs := pick(tier, &req); addrs != nil {
			return a.hold(&req, addrs), nil
		}
	}
	return Assignment{}, a.refusal(&req)
}

// Extend does what Keep does, and adds an address of the family that the Service of req
// lacks, from the pool of its other address. It returns the new address. The error is a
// *Refusal, and then no address is added.
func (a *Allocator) Extend(req Request) (netip.Addr, error) {
	keeps, err := a.Keep(req)
	if err != nil {
		return netip.Addr{}, err
	}
	if len(keeps.Addrs) == 0 || !req.Families.Lacks(keeps.Addrs) {
		return netip.Addr{}, refuse(Superseded, "Service %s does not hold one address and want two", req.Service)
	}
	h := a.held[req.Service]
	missing := v6
	if familyOf(h.addrs[0]) == v6 {
		missing = v4
	}
	addr := h.pool.spaces[missing].candidate(&req)
	if !addr.IsValid() {
		return netip.Addr{}, shortage([]*pool{h.pool}, req.Service, []Families{v4: IPv4, v6: IPv6}[missing])
	}
	addrs := []netip.Addr{h.addrs[0], addr}
	slices.SortFunc(addrs, netip.Addr.Compare)
	a.hold(&req, addrs)
	return addr, nil
}

// Release frees the addresses of a Service and returns them.
func (a *Allocator) Release(service Key) Assignment {
	h := a.held[service]
	if h == nil {
		return Assignment{}
	}
	was := h.assignment()
	a.remove(h)
	return was
}

func (h *holding) assignment() Assignment {
	if h.pool == nil {
		return Assignment{Addrs: h.addrs}
	}
	return Assignment{h.addrs, h.pool.name}
}

// hold makes addrs the addresses of the Service of req. It keeps the slice.
func (a *Allocator) hold(req *Request, addrs []netip.Addr) Assignment {
	if h := a.held[req.Service]; h != nil {
		a.remove(h)
	}
	h := &holding{
		service:    req.Service,
		uid:        req.UID,
		addrs:      addrs,
		sharingKey: req.SharingKey,
		shareWith:  req.ShareWith,
		backend:    req.Backend,
		ports:      req.Ports,
	}
	a.held[h.service] = h
	for _, addr := range addrs {
		a.enter(addr, h)
	}
	a.findPool(h)
	a.forget(h.service)
	return h.assignment()
}

// remove frees the addresses of h.
func (a *Allocator) remove(h *holding) {
	delete(a.held, h.service)
	if h.pool != nil {
		h.pool.services--
	}
	for _, addr := range h.addrs {
		a.exit(addr, h)
	}
}

// enter adds h to the users of addr.
func (a *Allocator) enter(addr netip.Addr, h *holding) {
	a.touch()
	was := clashing(a.users[addr])
	a.users.add(addr, h)
	if !was && clashing(a.users[addr]) {
		a.clashes++
	}
	s, pos, ok := a.assignable(addr)
	if !ok {
		return
	}
	if len(a.users[addr]) == 1 {
		s.take(pos)
	}
	s.join(pos, h)
}

// exit removes h from the users of addr.
func (a *Allocator) exit(addr netip.Addr, h *holding) {
	a.touch()
	was := clashing(a.users[addr])
	a.users.remove(addr, h)
	if was && !clashing(a.users[addr]) {
		a.clashes--
	}
	s, pos, ok := a.assignable(addr)
	if !ok {
		return
	}
	s.leave(pos, h)
	if len(a.users[addr]) == 0 {
		s.free(pos)
	}
}

// findPool sets the pool that contains the addresses of h.
func (a *Allocator) findPool(h *holding) {
	h.pool = nil
	for i, addr := range h.addrs {
		s, _, ok := a.assignable(addr)
		if !ok || i > 0 && s.pool != h.pool {
			h.pool = nil
			return
		}
		h.pool = s.pool
	}
	h.pool.services++
}

func (a *Allocator) poolNamed(name string) *pool {
	for _, p := range a.pools {
		if p.name == name {
			return p
		}
	}
	return nil
}
