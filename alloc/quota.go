// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// A Share is how many addresses of a pool with a quota the Services of a namespace have.
// Addresses that are reserved for them do not count.
type Share struct {
	Namespace        string
	InUseV4, InUseV6 int
	Limit            int // of each family
}

// counted reports whether addr counts towards the quota of a namespace.
func (s *space) counted(namespace string, addr netip.Addr) bool {
	return s.pool.quota != nil && !s.kept.exempt(namespace, addr)
}

// count adds n to the number of a namespace. It is called when the namespace's first
// Service uses addr, and when its last one no longer does.
func (s *space) count(namespace string, addr netip.Addr, n int) {
	if !s.counted(namespace, addr) {
		return
	}
	if s.perNamespace == nil {
		s.perNamespace = make(map[string]int)
	}
	if s.perNamespace[namespace] += n; s.perNamespace[namespace] == 0 {
		delete(s.perNamespace, namespace)
	}
}

// spent reports whether a namespace may have no more addresses of s.
func (s *space) spent(namespace string) bool {
	limit, bounded := s.pool.quota.Limit(namespace)
	return bounded && s.perNamespace[namespace] >= limit
}

// overQuota reports whether the Service of req cannot get addr because of its namespace's
// quota.
func (s *space) overQuota(req *Request, addr netip.Addr) bool {
	namespace := req.Service.Namespace
	return s.counted(namespace, addr) && s.spent(namespace) && s.users.ofNamespace(addr, namespace) == 0
}

// spentNote returns a text with the number of addresses of a namespace at its quota.
func (s *space) spentNote(namespace string) string {
	limit, _ := s.pool.quota.Limit(namespace)
	return fmt.Sprintf("pool %s: namespace %s has %d of at most %d %s addresses",
		s.pool.name, namespace, s.perNamespace[namespace], limit, s.family)
}

// shares returns the Share of each namespace with a quota in p, sorted by name.
func (p *pool) shares() []Share {
	if p.quota == nil {
		return nil
	}
	four, six := p.spaces[v4].perNamespace, p.spaces[v6].perNamespace
	names := make(map[string]bool)
	for n := range p.quota.Namespaces {
		names[n] = true
	}
	for _, m := range []map[string]int{four, six} {
		for n := range m {
			names[n] = true
		}
	}
	var out []Share
	for _, n := range slices.Sorted(maps.Keys(names)) {
		if limit, bounded := p.quota.Limit(n); bounded {
			out = append(out, Share{n, four[n], six[n], limit})
		}
	}
	return out
}
