// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/wake"
)

// kept has the addresses that are kept for certain Services, used or not: those that the
// configuration reserves, and those that deleted Services had. No other Service is
// assigned a kept address. A Service that has it already keeps it.
type kept struct {
	reserved    map[netip.Addr][]Key // in the order of the configuration
	reservedFor map[Key][]netip.Addr
	retained    map[netip.Addr][]*retention // in the order of keys
	retainedFor map[Key]*retention
	tallies     map[*space]tally // of retained addresses; nil: to be counted
	find        func(netip.Addr) (*space, position, bool)
}

// A retention keeps a deleted Service's addresses for the next one of its name.
type retention struct {
	service Key
	addrs   []netip.Addr
	until   time.Time
}

func newKept() *kept {
	return &kept{retained: make(map[netip.Addr][]*retention), retainedFor: make(map[Key]*retention)}
}

// reserve replaces the reservations.
func (k *kept) reserve(pools []config.Pool) {
	k.reserved, k.reservedFor = make(map[netip.Addr][]Key), make(map[Key][]netip.Addr)
	for _, p := range pools {
		for _, r := range p.Reservations {
			service := Key{r.Namespace, r.Service}
			k.reserved[r.Addr] = append(k.reserved[r.Addr], service)
			k.reservedFor[service] = append(k.reservedFor[service], r.Addr)
		}
	}
}

// forSomeone reports whether addr is kept for a Service.
func (k *kept) forSomeone(addr netip.Addr) bool {
	return len(k.reserved) > 0 && len(k.reserved[addr]) > 0 ||
		len(k.retained) > 0 && len(k.retained[addr]) > 0
}

// forOther reports whether addr is kept for another Service than this one. A reservation
// takes precedence over a retention.
func (k *kept) forOther(service Key, addr netip.Addr) bool {
	if len(k.reserved) > 0 {
		if keys := k.reserved[addr]; len(keys) > 0 {
			return !slices.Contains(keys, service)
		}
	}
	if len(k.retained) == 0 || len(k.retained[addr]) == 0 {
		return false
	}
	return !slices.ContainsFunc(k.retained[addr], func(r *retention) bool { return r.service == service })
}

// refusal returns the Refusal of an address that is kept, and says for which Service.
func (k *kept) refusal(addr netip.Addr) *Refusal {
	if keys := k.reserved[addr]; len(keys) > 0 {
		return refuse(AddressReserved, "%s is reserved for %s", addr, keys[0])
	}
	r := k.retained[addr][0]
	return refuse(AddressHeld, "%s is held for %s until %s", addr, r.service, moment(r.until))
}

// exempt reports whether addr is reserved for a Service of a namespace.
func (k *kept) exempt(namespace string, addr netip.Addr) bool {
	return len(k.reserved) > 0 && slices.ContainsFunc(k.reserved[addr], func(s Key) bool { return s.Namespace == namespace })
}

// retain adds a retention.
func (k *kept) retain(r *retention) {
	k.retainedFor[r.service] = r
	for _, addr := range r.addrs {
		i, _ := slices.BinarySearchFunc(k.retained[addr], r, byRetainer)
		k.retained[addr] = slices.Insert(k.retained[addr], i, r)
	}
}

// drop removes a retention, and calls freed for each address that is no longer kept.
func (k *kept) drop(r *retention, freed func(netip.Addr)) {
	delete(k.retainedFor, r.service)
	for _, addr := range r.addrs {
		i, found := slices.BinarySearchFunc(k.retained[addr], r, byRetainer)
		switch {
		case !found:
		case len(k.retained[addr]) == 1:
			delete(k.retained, addr)
			freed(addr)
		default:
			k.retained[addr] = slices.Delete(k.retained[addr], i, i+1)
		}
	}
}

func byRetainer(x, y *retention) int { return x.service.compare(y.service) }

// Retire releases the addresses of a deleted Service, and keeps them for the next Service
// of that name until a time.
func (a *Allocator) Retire(service Key, until time.Time) Assignment {
	was := a.Release(service)
	var addrs []netip.Addr
	for _, addr := range was.Addrs {
		_, _, ok := a.assignable(addr)
		if keys := a.kept.reserved[addr]; ok && (len(keys) == 0 || slices.Contains(keys, service)) {
			addrs = append(addrs, addr)
		}
	}
	if len(addrs) == 0 {
		return was
	}
	a.forget(service)
	a.touch()
	a.kept.retain(&retention{service, addrs, until})
	return was
}

// Expire frees the addresses that are kept for deleted Services until now or earlier. It
// returns the time of the next expiry; zero: never.
func (a *Allocator) Expire(now time.Time) (next time.Time) {
	for service, r := range a.kept.retainedFor {
		if !now.Before(r.until) {
			a.forget(service)
			continue
		}
		next = wake.Earlier(next, r.until)
	}
	return next
}

// forget frees the addresses that are kept for a deleted Service of that name.
func (a *Allocator) forget(service Key) {
	if len(a.kept.retainedFor) == 0 {
		return
	}
	if r := a.kept.retainedFor[service]; r != nil {
		a.touch()
		a.kept.drop(r, func(addr netip.Addr) {
			if s, pos, ok := a.assignable(addr); ok {
				s.requeue(pos)
			}
		})
	}
}

// Reserved returns the addresses that are reserved for a Service, in use or not. The
// caller must not change them.
func (a *Allocator) Reserved(service Key) []netip.Addr {
	if len(a.kept.reservedFor) == 0 {
		return nil
	}
	return a.kept.reservedFor[service]
}

// own returns an address of s that is kept for the Service of req and that it
// can use; the zero Addr if there is none.
func (s *space) own(req *Request) netip.Addr {
	if len(s.kept.reservedFor) > 0 {
		for _, addr := range s.kept.reservedFor[req.Service] {
			if s.canUse(req, addr) {
				return addr
			}
		}
	}
	if len(s.kept.retainedFor) > 0 {
		if r := s.kept.retainedFor[req.Service]; r != nil {
			for _, addr := range r.addrs {
				if s.canUse(req, addr) {
					return addr
				}
			}
		}
	}
	return netip.Addr{}
}

// canUse reports whether the Service of req can be given addr, if that is an
// address of s.
func (s *space) canUse(req *Request, addr netip.Addr) bool {
	return s.contains(addr) && s.users.conflict(req, addr) == nil && s.users.outsider(addr) == nil && !s.withholds(req, addr)
}

// keeps returns the pools with an address that is kept for the Service of req and that it
// can use. Reserving pools have a reservation, also if they assign nothing
// automatically. Retaining pools have an address of its predecessor.
func (a *Allocator) keeps(req *Request) (reserving, retaining []*pool) {
	usable := func(addrs []netip.Addr, open bool) (out []*pool) {
		for _, addr := range addrs {
			s, _, ok := a.assignable(addr)
			if ok && (open || s.pool.automatic) && req.Families.wants(familyOf(addr)) && s.canUse(req, addr) && !slices.Contains(out, s.pool) {
				out = append(out, s.pool)
			}
		}
		return out
	}
	if len(a.kept.reservedFor) > 0 {
		reserving = usable(a.kept.reservedFor[req.Service], true)
	}
	if len(a.kept.retainedFor) > 0 {
		if r := a.kept.retainedFor[req.Service]; r != nil {
			retaining = usable(r.addrs, false)
		}
	}
	return reserving, retaining
}

// keptNote returns a text with the number of unused addresses of s that are kept; empty
// if there are none.
func (s *space) keptNote() string {
	note := ""
	if s.reserved > 0 {
		note = fmt.Sprintf(", %d reserved", s.reserved)
	}
	if first, n := s.retained(); n == 1 {
		note += fmt.Sprintf(", 1 held for %s until %s", first.service, moment(first.until))
	} else if n > 1 {
		note += fmt.Sprintf(", %d held for Services that are gone, the first until %s", n, moment(first.until))
	}
	return note
}

// retained returns the number of unused addresses of s that are kept for deleted
// Services, and the retention that expires first.
func (s *space) retained() (first *retention, n int) {
	t := s.kept.tally(s)
	return t.first, t.n
}

// A tally counts the retained addresses of a space.
type tally struct {
	first *retention
	n     int
}

// tally returns the tally of s. It counts again only after a change: many Services may
// ask between two changes.
func (k *kept) tally(s *space) tally {
	if len(k.retained) == 0 {
		return tally{}
	}
	if k.tallies == nil {
		k.tallies = make(map[*space]tally)
		for addr, rs := range k.retained {
			s, _, ok := k.find(addr)
			if !ok || len(s.users[addr]) > 0 || len(k.reserved[addr]) > 0 {
				continue
			}
			t := k.tallies[s]
			t.n++
			for _, r := range rs {
				if t.first == nil || cmp.Or(r.until.Compare(t.first.until), byRetainer(r, t.first)) < 0 {
					t.first = r
				}
			}
			k.tallies[s] = t
		}
	}
	return k.tallies[s]
}

// contains reports whether addr is an address of s that may be assigned.
func (s *space) contains(addr netip.Addr) bool {
	return slices.ContainsFunc(s.ranges, func(r config.Range) bool { return r.Contains(addr) }) && !s.excludes(addr)
}

// moment returns t as text for a Refusal.
func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }
