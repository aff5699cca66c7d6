// SPDX-License-Identifier: Apache-2.0

package alloc_test

import (
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/config"
)

// retained is what the model keeps of a deleted Service.
type retained struct {
	addrs []netip.Addr
	until time.Time
}

func (m *model) retire(service alloc.Key, until time.Time) {
	var addrs []netip.Addr
	for _, addr := range m.held[service].Addrs {
		p, ok := m.poolOf(addr)
		if r := m.reservers(addr); ok && !excluded(p, addr) && (len(r) == 0 || slices.Contains(r, service)) {
			addrs = append(addrs, addr)
		}
	}
	delete(m.held, service)
	if len(addrs) > 0 {
		m.retained[service] = retained{addrs, until}
	}
}

func (m *model) expire(now time.Time) (next time.Time) {
	for service, r := range m.retained {
		if !r.until.After(now) {
			delete(m.retained, service)
		} else if next.IsZero() || r.until.Before(next) {
			next = r.until
		}
	}
	return next
}

// reservers returns the Services that an address is reserved for.
func (m *model) reservers(addr netip.Addr) (out []alloc.Key) {
	for _, p := range m.pools {
		for _, r := range p.Reservations {
			if r.Addr == addr {
				out = append(out, alloc.Key{Namespace: r.Namespace, Name: r.Service})
			}
		}
	}
	return out
}

func (m *model) retainers(addr netip.Addr) (out []alloc.Key) {
	for service, r := range m.retained {
		if slices.Contains(r.addrs, addr) {
			out = append(out, service)
		}
	}
	return out
}

func (m *model) reservedFor(service alloc.Key) (out []netip.Addr) {
	for _, p := range m.pools {
		for _, r := range p.Reservations {
			if r.Namespace == service.Namespace && r.Service == service.Name {
				out = append(out, r.Addr)
			}
		}
	}
	return out
}

func (m *model) keptFor(service alloc.Key) []netip.Addr {
	return append(m.reservedFor(service), m.retained[service].addrs...)
}

// keepers returns the pools of those of addrs that req can use.
func (m *model) keepers(req alloc.Request, addrs []netip.Addr, manual bool) (out []config.Pool) {
	for _, addr := range addrs {
		p, ok := m.poolOf(addr)
		known := slices.ContainsFunc(out, func(q config.Pool) bool { return q.Name == p.Name })
		if ok && !known && (manual || p.AutoAssign) && allowed(p, req) && wants(req.Families, addr) && m.usable(p, req, addr) {
			out = append(out, p)
		}
	}
	return out
}

func (m *model) usable(p config.Pool, req alloc.Request, addr netip.Addr) bool {
	return !excluded(p, addr) && len(m.conflict(req, addr)) == 0 && m.withheld(req, addr) == ""
}

// withheld returns why req cannot get addr, independently of its users.
func (m *model) withheld(req alloc.Request, addr netip.Addr) alloc.Reason {
	p, _ := m.poolOf(addr)
	switch reserved, retained := m.reservers(addr), m.retainers(addr); {
	case m.intruded(addr):
		return alloc.AddressInUse
	case len(reserved) > 0 && !slices.Contains(reserved, req.Service):
		return alloc.AddressReserved
	case len(reserved) == 0 && len(retained) > 0 && !slices.Contains(retained, req.Service):
		return alloc.AddressHeld
	}
	ns := req.Service.Namespace
	if m.counted(ns, addr) && m.spent(p, ns, addr.Is4()) && !m.usedBy(ns, addr) {
		return alloc.QuotaExceeded
	}
	return ""
}

func (m *model) usedBy(namespace string, addr netip.Addr) bool {
	for service, h := range m.held {
		if service.Namespace == namespace && slices.Contains(h.Addrs, addr) {
			return true
		}
	}
	return false
}

// counted reports whether an address is not reserved for the namespace.
func (m *model) counted(namespace string, addr netip.Addr) bool {
	return !slices.ContainsFunc(m.reservers(addr), func(k alloc.Key) bool { return k.Namespace == namespace })
}

func (m *model) used(p config.Pool, namespace string, is4 bool) (n int) {
	for _, r := range p.Addresses {
		for addr := r.First; r.Contains(addr); addr = addr.Next() {
			if addr.Is4() == is4 && !excluded(p, addr) && m.counted(namespace, addr) && m.usedBy(namespace, addr) {
				n++
			}
		}
	}
	return n
}

func (m *model) spent(p config.Pool, namespace string, is4 bool) bool {
	limit, bounded := p.Quota.Limit(namespace)
	return bounded && m.used(p, namespace, is4) >= limit
}

func (m *model) shares(p config.Pool) (out []alloc.Share) {
	if p.Quota == nil {
		return nil
	}
	for _, ns := range []string{"a", "b", "c"} {
		s := alloc.Share{Namespace: ns, InUseV4: m.used(p, ns, true), InUseV6: m.used(p, ns, false)}
		var bounded bool
		s.Limit, bounded = p.Quota.Limit(ns)
		if _, named := p.Quota.Namespaces[ns]; bounded && (named || s.InUseV4+s.InUseV6 > 0) {
			out = append(out, s)
		}
	}
	return out
}

// worse returns the reason that a shortage has after p was tried.
func (m *model) worse(r alloc.Reason, p config.Pool, namespace string, f alloc.Families) alloc.Reason {
	missing, full, spent := false, false, false
	for _, is4 := range []bool{true, false} {
		if f == alloc.IPv4 && !is4 || f == alloc.IPv6 && is4 {
			continue
		}
		total, free := 0, 0
		for _, rng := range p.Addresses {
			for addr := rng.First; rng.Contains(addr); addr = addr.Next() {
				if addr.Is4() != is4 || excluded(p, addr) {
					continue
				}
				total++
				if !m.inUse(addr) && len(m.reservers(addr)) == 0 && len(m.retainers(addr)) == 0 {
					free++
				}
			}
		}
		missing = missing || total == 0
		full = full || total > 0 && free == 0
		spent = spent || free > 0 && m.spent(p, namespace, is4)
	}
	here := alloc.FamilyUnavailable
	switch {
	case missing && f == alloc.DualStack:
	case spent && !(full && f == alloc.DualStack):
		here = alloc.QuotaExceeded
	case full || spent:
		here = alloc.PoolExhausted
	}
	rank := []alloc.Reason{alloc.FamilyUnavailable, alloc.PoolExhausted, alloc.QuotaExceeded}
	if slices.Index(rank, r) > slices.Index(rank, here) {
		return r
	}
	return here
}
