// SPDX-License-Identifier: Apache-2.0

package alloc_test

import (
	"cmp"
	"math/big"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/config"
)

// A model does what an Allocator does, by a direct implementation of the rules that looks
// at every address each time.
type model struct {
	pools    []config.Pool
	held     map[alloc.Key]alloc.Request // Addrs is what the Service holds
	retained map[alloc.Key]retained
	outside  []alloc.Outsider
}

// outcome is what a call returned.
type outcome struct {
	Addrs  []netip.Addr
	Pool   string
	Reason alloc.Reason
}

func no(r alloc.Reason) outcome { return outcome{Reason: r} }

func (m *model) poolOf(addr netip.Addr) (config.Pool, bool) {
	for _, p := range m.pools {
		for _, r := range p.Addresses {
			if r.Contains(addr) {
				return p, true
			}
		}
	}
	return config.Pool{}, false
}

func excluded(p config.Pool, addr netip.Addr) bool {
	return p.AvoidBuggyIPs && addr.Is4() && (addr.As4()[3] == 0 || addr.As4()[3] == 255)
}

func allowed(p config.Pool, req alloc.Request) bool {
	al := p.Allocation
	if al == nil {
		return true
	}
	namespace := len(al.Namespaces)+len(al.NamespaceSelectors) == 0
	for _, n := range al.Namespaces {
		namespace = namespace || n == req.Service.Namespace
	}
	for _, s := range al.NamespaceSelectors {
		namespace = namespace || s.Matches(req.NamespaceLabels)
	}
	service := len(al.ServiceSelectors) == 0
	for _, s := range al.ServiceSelectors {
		service = service || s.Matches(req.Labels)
	}
	return namespace && service
}

// conflict returns all reasons why req cannot use addr; empty if it can. The order in which
// an Allocator finds them does not matter.
func (m *model) conflict(req alloc.Request, addr netip.Addr) []alloc.Reason {
	var out []alloc.Reason
	for service, h := range m.held {
		if service == req.Service || !slices.Contains(h.Addrs, addr) {
			continue
		}
		switch {
		case req.SharingKey == "" || h.SharingKey == "":
			out = append(out, alloc.AddressInUse)
		case req.SharingKey != h.SharingKey || req.Backend != h.Backend:
			out = append(out, alloc.SharingConflict)
		default:
			if _, clash := req.Ports.Common(h.Ports); clash {
				out = append(out, alloc.PortInUse)
			}
		}
	}
	return out
}

func (m *model) check(req alloc.Request, addrs []netip.Addr) (string, alloc.Reason) {
	var pool config.Pool
	for i, addr := range addrs {
		p, ok := m.poolOf(addr)
		switch {
		case !ok:
			return "", alloc.AddressNotInPool
		case excluded(p, addr):
			return "", alloc.AddressExcluded
		case i > 0 && p.Name != pool.Name:
			return "", alloc.AddressNotInPool
		}
		pool = p
	}
	if req.Pool != "" && req.Pool != pool.Name {
		if len(req.Addrs) == 0 {
			return "", alloc.Superseded
		}
		return "", alloc.AddressNotInPool
	}
	if !allowed(pool, req) {
		return "", alloc.PoolNotAllowed
	}
	for _, addr := range addrs {
		if bad := m.conflict(req, addr); len(bad) > 0 {
			return "", bad[0]
		}
	}
	return pool.Name, ""
}

func wants(f alloc.Families, addr netip.Addr) bool {
	return !(f == alloc.IPv4 && addr.Is6() || f == alloc.IPv6 && addr.Is4())
}

func same(x, y []netip.Addr) bool {
	return slices.Equal(slices.SortedFunc(slices.Values(x), netip.Addr.Compare), slices.SortedFunc(slices.Values(y), netip.Addr.Compare))
}

func (m *model) hold(req alloc.Request, addrs []netip.Addr, pool string) outcome {
	req.Addrs = addrs
	m.held[req.Service] = req
	delete(m.retained, req.Service)
	return outcome{Addrs: addrs, Pool: pool}
}

func (m *model) claim(req alloc.Request, want []netip.Addr) outcome {
	addrs, pool, bad := m.claimable(req, want)
	if bad != "" {
		return no(bad)
	}
	return m.hold(req, addrs, pool)
}

func (m *model) claimable(req alloc.Request, want []netip.Addr) ([]netip.Addr, string, alloc.Reason) {
	var addrs []netip.Addr
	for _, addr := range want {
		if wants(req.Families, addr) {
			addrs = append(addrs, addr)
		}
	}
	if len(addrs) == 0 || len(req.Addrs) > 0 && !same(addrs, req.Addrs) {
		return nil, "", alloc.Superseded
	}
	pool, bad := m.check(req, addrs)
	return addrs, pool, bad
}

func (m *model) keep(req alloc.Request) outcome {
	h, ok := m.held[req.Service]
	if !ok {
		return outcome{}
	}
	any := alloc.Request{Service: h.Service, SharingKey: h.SharingKey, Backend: h.Backend, Ports: h.Ports,
		Labels: req.Labels, NamespaceLabels: req.NamespaceLabels}
	if _, bad := m.check(any, h.Addrs); bad == alloc.AddressNotInPool || bad == alloc.AddressExcluded {
		return no(bad)
	}
	out := m.claim(req, h.Addrs)
	if p, _ := m.poolOf(h.Addrs[0]); out.Reason != "" && req.Pool != "" && p.Name != req.Pool {
		out.Reason = alloc.Superseded
	}
	return out
}

// first returns the first address of a family in a pool that req can use.
func (m *model) first(p config.Pool, req alloc.Request, is4 bool) (netip.Addr, bool) {
	for _, addr := range m.keptFor(req.Service) {
		if in, ok := m.poolOf(addr); ok && in.Name == p.Name && addr.Is4() == is4 && m.usable(p, req, addr) {
			return addr, true
		}
	}
	var last []netip.Addr // that routers answer for
	for _, r := range p.Addresses {
		for addr := r.First; r.Contains(addr); addr = addr.Next() {
			switch {
			case addr.Is4() != is4 || !m.usable(p, req, addr):
			case addr == r.First && r.First != r.Last && config.SubnetRouterAnycast(addr):
				last = append(last, addr)
			default:
				return addr, true
			}
		}
	}
	if len(last) > 0 {
		return last[0], true
	}
	return netip.Addr{}, false
}

func (m *model) allocate(req alloc.Request) outcome {
	delete(m.held, req.Service)
	if len(req.Addrs) > 0 {
		addrs, pool, bad := m.claimable(req, req.Addrs)
		for _, addr := range addrs {
			if bad == "" {
				bad = m.withheld(req, addr)
			}
		}
		if bad != "" {
			return no(bad)
		}
		return m.hold(req, addrs, pool)
	}
	var tiers [2][]config.Pool
	for _, p := range m.pools {
		switch {
		case req.Pool != "" && p.Name == req.Pool && !allowed(p, req):
			return no(alloc.PoolNotAllowed)
		case req.Pool != "" && p.Name == req.Pool:
			tiers[0] = append(tiers[0], p)
		case req.Pool != "" || !p.AutoAssign || !allowed(p, req):
		case p.Allocation != nil:
			tiers[0] = append(tiers[0], p)
		default:
			tiers[1] = append(tiers[1], p)
		}
	}
	if req.Pool == "" {
		last := func(p config.Pool) bool { return p.Allocation.Priority == 0 }
		slices.SortStableFunc(tiers[0], func(p, q config.Pool) int {
			if last(p) != last(q) {
				return map[bool]int{true: 1, false: -1}[last(p)]
			}
			return cmp.Compare(p.Allocation.Priority, q.Allocation.Priority)
		})
	}
	reason := alloc.NoPool
	if req.Pool != "" {
		reason = alloc.PoolUnknown
	}
	all := tiers[:]
	if req.Pool == "" {
		all = [][]config.Pool{m.keepers(req, m.reservedFor(req.Service), true), m.keepers(req, m.retained[req.Service].addrs, false), tiers[0], tiers[1]}
	}
	for i, tier := range all {
		var dual, only4, only6 *outcome
		for _, p := range tier {
			a4, has4 := m.first(p, req, true)
			a6, has6 := m.first(p, req, false)
			if has4 && has6 && dual == nil {
				dual = &outcome{Addrs: []netip.Addr{a4, a6}, Pool: p.Name}
			}
			if has4 && only4 == nil {
				only4 = &outcome{Addrs: []netip.Addr{a4}, Pool: p.Name}
			}
			if has6 && only6 == nil {
				only6 = &outcome{Addrs: []netip.Addr{a6}, Pool: p.Name}
			}
			if len(all) == 2 || i > 1 {
				reason = m.worse(reason, p, req.Service.Namespace, req.Families)
			}
		}
		order := map[alloc.Families][]*outcome{
			alloc.IPv4: {only4}, alloc.IPv6: {only6}, alloc.DualStack: {dual},
			alloc.PreferIPv4: {dual, only4, only6}, alloc.PreferIPv6: {dual, only6, only4},
		}[req.Families]
		for _, o := range order {
			if o != nil {
				return m.hold(req, o.Addrs, o.Pool)
			}
		}
	}
	return no(reason)
}

func (m *model) inUse(addr netip.Addr) bool { return m.holds(addr) || m.intruded(addr) }

// clash reports whether an outsider has addr, and another Service too.
func (m *model) clash(addr netip.Addr) bool { return m.holds(addr) && m.intruded(addr) }

// holds reports whether a Service other than an outsider has addr.
func (m *model) holds(addr netip.Addr) bool {
	for _, h := range m.held {
		if slices.Contains(h.Addrs, addr) {
			return true
		}
	}
	return false
}

// intruded reports whether an outsider has addr.
func (m *model) intruded(addr netip.Addr) bool {
	return slices.ContainsFunc(m.outside, func(o alloc.Outsider) bool { return slices.Contains(o.Addrs, addr) })
}

func (m *model) extend(req alloc.Request) outcome {
	if out := m.keep(req); out.Reason != "" {
		return out
	}
	h, ok := m.held[req.Service]
	if !ok || req.Families == alloc.IPv4 || req.Families == alloc.IPv6 || len(h.Addrs) == 2 {
		return no(alloc.Superseded)
	}
	p, _ := m.poolOf(h.Addrs[0])
	addr, ok := m.first(p, req, h.Addrs[0].Is6())
	if !ok {
		missing := alloc.IPv6
		if h.Addrs[0].Is6() {
			missing = alloc.IPv4
		}
		return no(m.worse("", p, req.Service.Namespace, missing))
	}
	m.hold(req, slices.SortedFunc(slices.Values([]netip.Addr{h.Addrs[0], addr}), netip.Addr.Compare), p.Name)
	return outcome{Addrs: []netip.Addr{addr}}
}

func (m *model) get(service alloc.Key) alloc.Assignment {
	h, ok := m.held[service]
	if !ok {
		return alloc.Assignment{}
	}
	var names []string
	for _, addr := range h.Addrs {
		p, ok := m.poolOf(addr)
		if !ok || excluded(p, addr) || len(names) > 0 && names[0] != p.Name {
			return alloc.Assignment{Addrs: h.Addrs}
		}
		names = append(names, p.Name)
	}
	return alloc.Assignment{Addrs: h.Addrs, Pool: names[0]}
}

func (m *model) usage() []alloc.Usage {
	out := []alloc.Usage{}
	for _, p := range m.pools {
		u := alloc.Usage{Pool: p.Name}
		var total [2]int64
		for _, r := range p.Addresses {
			for addr := r.First; r.Contains(addr); addr = addr.Next() {
				if excluded(p, addr) {
					continue
				}
				inUse, reserved, retained := &u.InUseV4, &u.ReservedV4, &u.RetainedV4
				if addr.Is6() {
					inUse, reserved, retained = &u.InUseV6, &u.ReservedV6, &u.RetainedV6
				}
				total[map[bool]int{addr.Is6(): 1}[true]]++
				switch {
				case m.inUse(addr):
					*inUse++
				case len(m.reservers(addr)) > 0:
					*reserved++
				case len(m.retainers(addr)) > 0:
					*retained++
				}
			}
		}
		u.TotalV4, u.TotalV6 = big.NewInt(total[0]), big.NewInt(total[1])
		for service := range m.held {
			if m.get(service).Pool == p.Name {
				u.Services++
			}
		}
		u.Shares = m.shares(p)
		out = append(out, u)
	}
	return out
}
