// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/port"
)

// A groupKey has the properties that Services on one address must have in common.
type groupKey struct {
	sharingKey string
	backend    Backend
}

// A group is the addresses whose users share them with any Service of the same groupKey
// that has other ports.
type group struct {
	addrs []position // sorted
	// full has sets of ports of which at least one is in use on each of addrs. Many
	// Services often wait for an address with the same key and ports, in every pass.
	full map[port.Set]struct{}
}

// maxFull bounds group.full.
const maxFull = 1024

// first returns the first address of s on which no port of req is in use, and
// that is not withheld.
func (g *group) first(req *Request, s *space) (position, bool) {
	if _, full := g.full[req.Ports]; full {
		return position{}, false
	}
	full := true
	for _, p := range g.addrs {
		if _, other := s.users.clash(p.addr, Key{}, req.Ports); other != nil {
			continue
		}
		full = false
		if s.users.outsider(p.addr) == nil && !s.withholds(req, p.addr) {
			return p, true
		}
	}
	if full {
		if g.full == nil || len(g.full) >= maxFull {
			g.full = make(map[port.Set]struct{})
		}
		g.full[req.Ports] = struct{}{}
	}
	return position{}, false
}

// recall forgets which sets of ports were full, as far as addr has room for them now.
func (g *group) recall(u users, addr netip.Addr) {
	maps.DeleteFunc(g.full, func(ports port.Set, _ struct{}) bool {
		_, other := u.clash(addr, Key{}, ports)
		return other == nil
	})
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
		g = &group{}
		if s.groups == nil {
			s.groups = make(map[groupKey]*group)
		}
		s.groups[key] = g
	}
	if i, found := slices.BinarySearchFunc(g.addrs, p, position.compare); !found {
		g.addrs = slices.Insert(g.addrs, i, p)
		g.recall(s.users, p.addr)
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
	if s.users.ours(p.addr) {
		g.recall(s.users, p.addr)
		return
	}
	if i, found := slices.BinarySearchFunc(g.addrs, p, position.compare); found {
		g.addrs = slices.Delete(g.addrs, i, i+1)
	}
	if len(g.addrs) == 0 {
		delete(s.groups, key)
	}
}
