// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"cmp"
	"container/heap"
	"math/big"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/config"
)

// A space is the addresses of one family in one pool, in the order in which they are
// assigned: range after range, lowest address first. If a range begins with the
// subnet-router anycast address of a link, that comes after all others.
//
// An unused address is either at or after the cursor, or in the heap of released ones.
// So finding the next free address costs O(log n) amortized, and a space needs memory
// only for addresses that were in use once. The search checks both against the users:
// addresses taken by explicit request do not change the cursor or the heap. Neither do
// kept addresses, which return to the heap when they are no longer kept.
type space struct {
	pool       *pool
	family     family
	ranges     []config.Range
	avoidBuggy bool
	total      *big.Int
	users      users
	kept       *kept

	inUse        int
	outside      int      // addresses of outsiders, part of inUse
	reserved     int      // unused addresses that are reserved
	next         position // the cursor; its index is len(ranges) at the end
	released     positions
	queued       map[netip.Addr]struct{} // the addresses in released
	groups       map[groupKey]*group     // of addresses whose users would share them
	perNamespace map[string]int          // addresses that a quota counts
}

// A position is an address of a space, with the index of its range.
type position struct {
	index int
	addr  netip.Addr
}

func (p position) compare(o position) int {
	return cmp.Or(cmp.Compare(p.index, o.index), p.addr.Compare(o.addr))
}

func newSpace(p *pool, fam family, c config.Pool, u users, k *kept) *space {
	s := &space{pool: p, family: fam, avoidBuggy: c.AvoidBuggyIPs && fam == v4, total: new(big.Int), users: u, kept: k}
	var last []config.Range
	for _, r := range c.Addresses {
		if familyOf(r.First) != fam {
			continue
		}
		if r.First != r.Last && config.SubnetRouterAnycast(r.First) {
			last = append(last, config.Range{First: r.First, Last: r.First})
			s.ranges = append(s.ranges, config.Range{First: r.First.Next(), Last: r.Last})
		} else {
			s.ranges = append(s.ranges, r)
		}
		s.total.Add(s.total, r.Size())
		if s.avoidBuggy {
			s.total.Sub(s.total, big.NewInt(buggyIn(r)))
		}
	}
	s.ranges = append(s.ranges, last...)
	for _, r := range c.Reservations {
		if familyOf(r.Addr) == fam && k.reserved[r.Addr][0] == (Key{r.Namespace, r.Service}) && s.contains(r.Addr) {
			s.reserved++
		}
	}
	s.rewind()
	return s
}

// rewind forgets every address that was ever in use.
func (s *space) rewind() {
	s.next = position{}
	if len(s.ranges) > 0 {
		s.next.addr = s.ranges[0].First
	}
	s.released, s.queued = nil, make(map[netip.Addr]struct{})
}

// excludes reports whether a is never assigned although a range contains it.
func (s *space) excludes(a netip.Addr) bool { return s.avoidBuggy && buggy(a) }

// firstFree returns the first unused address that is not kept.
func (s *space) firstFree() (position, bool) {
	for len(s.released) > 0 {
		p := s.released[0]
		if len(s.users[p.addr]) == 0 && !s.kept.forSomeone(p.addr) {
			return p, true
		}
		heap.Pop(&s.released)
		delete(s.queued, p.addr)
	}
	for s.next.index < len(s.ranges) {
		if !s.excludes(s.next.addr) && len(s.users[s.next.addr]) == 0 && !s.kept.forSomeone(s.next.addr) {
			return s.next, true
		}
		s.advance()
	}
	return position{}, false
}

func (s *space) advance() {
	if s.next.addr != s.ranges[s.next.index].Last {
		s.next.addr = s.next.addr.Next()
		return
	}
	s.next = position{index: s.next.index + 1}
	if s.next.index < len(s.ranges) {
		s.next.addr = s.ranges[s.next.index].First
	}
}

// take records that p has its first user.
func (s *space) take(p position) {
	s.inUse++
	if len(s.kept.reserved) > 0 && len(s.kept.reserved[p.addr]) > 0 {
		s.reserved--
	}
}

// free records that p has lost its last user.
func (s *space) free(p position) {
	s.inUse--
	if len(s.kept.reserved) > 0 && len(s.kept.reserved[p.addr]) > 0 {
		s.reserved++
	}
	if s.inUse == 0 {
		s.rewind()
		return
	}
	s.requeue(p)
}

// requeue lets p be found again if it is unused.
func (s *space) requeue(p position) {
	if _, ok := s.queued[p.addr]; ok || p.compare(s.next) >= 0 || len(s.users[p.addr]) > 0 {
		return
	}
	s.queued[p.addr] = struct{}{}
	heap.Push(&s.released, p)
}

// candidate returns an address that is kept for req, or else the first one that is free or
// that req can share. It returns the zero Addr if there is none.
func (s *space) candidate(req *Request) netip.Addr {
	if addr := s.own(req); addr.IsValid() {
		return addr
	}
	best, ok := s.firstFree()
	if ok && s.pool.quota != nil && s.spent(req.Service.Namespace) {
		best, ok = position{}, false
	}
	if req.SharingKey == "" {
		return best.addr
	}
	if g := s.groups[groupKey{req.SharingKey, req.Backend}]; g != nil {
		if p, shared := g.first(req, s); shared && (!ok || p.compare(best) < 0) {
			best = p
		}
	}
	return best.addr
}

// positions is a heap for container/heap, first position on top.
type positions []position

func (h positions) Len() int           { return len(h) }
func (h positions) Less(i, j int) bool { return h[i].compare(h[j]) < 0 }
func (h positions) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is for container/heap.
func (h *positions) Push(x any) { *h = append(*h, x.(position)) }

// Pop is for container/heap.
func (h *positions) Pop() any {
	last := len(*h) - 1
	p := (*h)[last]
	*h = (*h)[:last]
	return p
}

// buggy reports whether a is an IPv4 address that some old devices treat as a network or
// broadcast address.
func buggy(a netip.Addr) bool {
	last := a.As4()[3]
	return last == 0 || last == 255
}

// buggyIn returns how many addresses of an IPv4 range are buggy.
func buggyIn(r config.Range) int64 {
	upTo := func(n int64) int64 { // how many of 0 to n; none for -1
		return (n+256)/256 + (n+1)/256
	}
	return upTo(number(r.Last)) - upTo(number(r.First)-1)
}

func number(a netip.Addr) int64 {
	b := a.As4()
	return int64(b[0])<<24 | int64(b[1])<<16 | int64(b[2])<<8 | int64(b[3])
}

// locate returns the space and position of addr.
func (a *Allocator) locate(addr netip.Addr) (*space, position, bool) {
	i, found := slices.BinarySearchFunc(a.places, addr, func(p place, addr netip.Addr) int {
		return p.rng.First.Compare(addr)
	})
	if !found {
		i--
	}
	if i < 0 || !a.places[i].rng.Contains(addr) {
		return nil, position{}, false
	}
	return a.places[i].space, position{a.places[i].index, addr}, true
}

// assignable returns the space and position of addr if it may be assigned.
func (a *Allocator) assignable(addr netip.Addr) (*space, position, bool) {
	s, pos, ok := a.locate(addr)
	if !ok || s.excludes(addr) {
		return nil, position{}, false
	}
	return s, pos, true
}
