// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"cmp"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/config"
)

// Usage is how many addresses of a pool are used. A shared address counts once. Addresses
// that avoid-buggy-ips leaves out do not count.
type Usage struct {
	Pool             string
	TotalV4, TotalV6 *big.Int // exact for pools of any size; read-only
	InUseV4, InUseV6 int
	// Unused addresses: those reserved, and those of deleted Services that are kept for
	// the next one of the same name.
	ReservedV4, ReservedV6 int
	RetainedV4, RetainedV6 int
	Services               int     // that hold an address of the pool
	Shares                 []Share // of the namespaces with a quota, sorted by name
}

// A pool is one of the configuration's pools, with its addresses in use.
type pool struct {
	name       string
	automatic  bool
	allocation *config.Allocation
	quota      *config.Quota
	separate   bool      // see config.Pool
	spaces     [2]*space // by family
	services   int
}

func newPool(c config.Pool, u users, k *kept) *pool {
	p := &pool{name: c.Name, automatic: c.AutoAssign, allocation: c.Allocation, quota: c.Quota, separate: c.Separate}
	for _, fam := range []family{v4, v6} {
		p.spaces[fam] = newSpace(p, fam, c, u, k)
	}
	return p
}

func (p *pool) usage() Usage {
	four, six := p.spaces[v4], p.spaces[v6]
	u := Usage{
		Pool:    p.name,
		TotalV4: four.total, TotalV6: six.total,
		InUseV4: four.inUse, InUseV6: six.inUse,
		ReservedV4: four.reserved, ReservedV6: six.reserved,
		Services: p.services,
		Shares:   p.shares(),
	}
	_, u.RetainedV4 = four.retained()
	_, u.RetainedV6 = six.retained()
	return u
}

// allows reports whether the Service of req may have addresses of p.
func (p *pool) allows(req *Request) bool {
	return p.allocation.Allows(req.Service.Namespace, req.NamespaceLabels, req.Labels)
}

// shortage returns a text with the wanted families that p cannot provide to a namespace,
// and the main reason. Call it only if a family is missing.
func (p *pool) shortage(namespace string, wish Families) (text string, reason Reason) {
	dual := p.spaces[v4].total.Sign() > 0 && p.spaces[v6].total.Sign() > 0
	var full, missing []string
	exhausted, spent := false, false
	for _, fam := range []family{v4, v6} {
		s := p.spaces[fam]
		if !wish.wants(fam) {
			continue
		}
		if s.total.Sign() == 0 {
			missing = append(missing, fmt.Sprintf("pool %s has no %s addresses", p.name, fam))
			continue
		}
		if _, free := s.firstFree(); free {
			if s.spent(namespace) {
				full = append(full, s.spentNote(namespace))
				spent = true
			}
			continue
		}
		which := ""
		if dual {
			which = fam.String() + " "
		}
		full = append(full, fmt.Sprintf("pool %s: %d of %d %sin use", p.name, s.inUse, s.total, which)+s.outsideNote()+s.keptNote())
		exhausted = true
	}
	switch {
	case len(missing) > 0 && (wish == DualStack || len(full) == 0):
		return strings.Join(missing, ", "), FamilyUnavailable
	case spent && !(exhausted && wish == DualStack):
		reason = QuotaExceeded
	default:
		reason = PoolExhausted
	}
	return strings.Join(full, ", "), reason
}

// pick returns the first of pools that serves req, and the addresses. A pool with all
// wanted families wins over earlier ones with fewer.
func pick(pools []*pool, req *Request) (*pool, []netip.Addr) {
	var partial [2]*pool // the first that serves a family
	var spare [2]netip.Addr
	for _, p := range pools {
		if !p.allows(req) {
			continue
		}
		var found []netip.Addr
		for _, fam := range []family{v4, v6} {
			if !req.Families.wants(fam) {
				continue
			}
			addr := p.spaces[fam].candidate(req)
			if !addr.IsValid() {
				continue
			}
			found = append(found, addr)
			if partial[fam] == nil {
				partial[fam], spare[fam] = p, addr
			}
		}
		if !req.Families.Lacks(found) {
			return p, found
		}
	}
	order := []family{v4, v6}
	switch req.Families {
	case PreferIPv4:
	case PreferIPv6:
		slices.Reverse(order)
	default:
		return nil, nil
	}
	for _, fam := range order {
		if partial[fam] != nil {
			return partial[fam], []netip.Addr{spare[fam]}
		}
	}
	return nil, nil
}

// byPriority orders pinned pools: the lowest number first, 0 last.
func byPriority(p, q *pool) int {
	a, b := p.allocation.Priority, q.allocation.Priority
	switch {
	case a == b:
		return 0
	case a == 0:
		return 1
	case b == 0:
		return -1
	}
	return cmp.Compare(a, b)
}
