// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"cmp"
	"net/netip"
	"slices"
)

// users are the Services that hold an address, sorted by key, so that a Refusal names the
// same one each time.
type users map[netip.Addr][]*holding

func (u users) add(addr netip.Addr, h *holding) {
	i, _ := slices.BinarySearchFunc(u[addr], h, byService)
	u[addr] = slices.Insert(u[addr], i, h)
}

func (u users) remove(addr netip.Addr, h *holding) {
	i, found := slices.BinarySearchFunc(u[addr], h, byService)
	switch {
	case !found:
	case len(u[addr]) == 1:
		delete(u, addr)
	default:
		u[addr] = slices.Delete(u[addr], i, i+1)
	}
}

// byService sorts by key, outsiders last: a Service may for a moment be both.
func byService(x, y *holding) int {
	return cmp.Or(x.service.compare(y.service), cmp.Compare(x.outside, y.outside))
}

// ofNamespace returns how many Services of a namespace use addr.
func (u users) ofNamespace(addr netip.Addr, namespace string) int {
	n := 0
	for _, h := range u[addr] {
		if h.service.Namespace == namespace && h.outside == "" {
			n++
		}
	}
	return n
}

// clash returns the first of ports that another user of addr than self has.
func (u users) clash(addr netip.Addr, self Key, ports []Port) (Port, *holding) {
	for _, other := range u[addr] {
		if other.service == self {
			continue
		}
		for _, p := range ports {
			if slices.Contains(other.ports, p) {
				return p, other
			}
		}
	}
	return Port{}, nil
}

// conflict returns why the Service of req cannot share addr with the Services that hold
// it; nil if it can.
func (u users) conflict(req *Request, addr netip.Addr) *Refusal {
	for _, other := range u[addr] {
		switch {
		case other.service == req.Service, other.outside != "":
			continue
		case req.SharingKey == "" || other.sharingKey == "":
			return refuse(AddressInUse, "%s is in use by %s", addr, other.service)
		case req.SharingKey != other.sharingKey:
			return refuse(SharingConflict, "%s is in use by %s with sharing key %q, not %q",
				addr, other.service, other.sharingKey, req.SharingKey)
		case req.Backend != other.backend:
			return refuse(SharingConflict, "%s is in use by %s, whose externalTrafficPolicy or selector differs",
				addr, other.service)
		}
	}
	if p, other := u.clash(addr, req.Service, req.Ports); other != nil {
		return refuse(PortInUse, "port %s is already in use on %s by %s", p, addr, other.service)
	}
	return nil
}

// A groupKey has the properties that Services on one address must have in common.
type groupKey struct {
	sharingKey string
	backend    Backend
}

// A group is the addresses whose users share them with any Service of the same groupKey
// that has other ports.
type group struct {
	addrs []position   // sorted
	ports map[Port]int // on how many of addrs a port is in use
}

// first returns the first address of s on which no port of req is in use, and
// that is not withheld.
func (g *group) first(req *Request, s *space) (position, bool) {
	// Many Services often have the same sharing key and port. If the port is in use on
	// all addresses, no search is needed.
	for _, p := range req.Ports {
		if g.ports[p] == len(g.addrs) {
			return position{}, false
		}
	}
	for _, p := range g.addrs {
		if _, other := s.users.clash(p.addr, Key{}, req.Ports); other == nil && s.users.outsider(p.addr) == nil && !s.withholds(req, p.addr) {
			return p, true
		}
	}
	return position{}, false
}

// join records that h uses p.
func (s *space) join(p position, h *holding) {
	if h.outside != "" {
		if s.users.outsiders(p.addr) == 1 {
			s.outside++
		}
		return
	}
	if s.pool.quota != nil && s.users.ofNamespace(p.addr, h.service.Namespace) == 1 {
		s.count(h.service.Namespace, p.addr, 1)
	}
	s.group(p, h)
}

// group adds h, a user of p, to its group.
func (s *space) group(p position, h *holding) {
	if h.sharingKey == "" {
		return
	}
	key := groupKey{h.sharingKey, h.backend}
	g := s.groups[key]
	if g == nil {
		g = &group{ports: make(map[Port]int)}
		if s.groups == nil {
			s.groups = make(map[groupKey]*group)
		}
		s.groups[key] = g
	}
	if i, found := slices.BinarySearchFunc(g.addrs, p, position.compare); !found {
		g.addrs = slices.Insert(g.addrs, i, p)
	}
	for _, port := range h.ports {
		g.ports[port]++
	}
}

// leave records that h no longer uses p.
func (s *space) leave(p position, h *holding) {
	if h.outside != "" {
		if s.users.outsiders(p.addr) == 0 {
			s.outside--
		}
		return
	}
	if s.pool.quota != nil && s.users.ofNamespace(p.addr, h.service.Namespace) == 0 {
		s.count(h.service.Namespace, p.addr, -1)
	}
	if h.sharingKey == "" {
		return
	}
	key := groupKey{h.sharingKey, h.backend}
	g := s.groups[key]
	for _, port := range h.ports {
		if g.ports[port]--; g.ports[port] == 0 {
			delete(g.ports, port)
		}
	}
	if s.users.ours(p.addr) {
		return
	}
	if i, found := slices.BinarySearchFunc(g.addrs, p, position.compare); found {
		g.addrs = slices.Delete(g.addrs, i, i+1)
	}
	if len(g.addrs) == 0 {
		delete(s.groups, key)
	}
}

// distinct returns ports without repetitions, in a new slice.
func distinct(ports []Port) []Port {
	out := make([]Port, 0, len(ports))
	for _, p := range ports {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}
