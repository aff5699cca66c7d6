// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// AnnotationRelease is the annotation of a pool's resource, or of the ConfigMap,
// that names the addresses which may be taken from Services though they are
// protected: addresses, CIDRs and ranges, with commas between them.
const AnnotationRelease = "heraldlb.io/release-addresses"

// A Protection keeps what Services use from being taken away by an edit of a pool,
// or by its deletion.
type Protection struct {
	InUse []Use
	// Judge is whether to look also at which Services a pool is for. Where it is
	// false, that is left to the process that writes the objects' statuses.
	Judge bool
}

// A Use is an address that a Service has.
type Use struct {
	Addr            netip.Addr
	Service         string // namespace/name
	Namespace       string
	Labels          map[string]string // of the Service
	NamespaceLabels map[string]string
}

// ParseRelease reads the value of AnnotationRelease. An empty text has none.
func ParseRelease(text string) ([]Range, error) {
	var out []Range
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		if a, err := parseAddr(item); err == nil {
			out = append(out, Range{a, a})
			continue
		}
		r, err := ParseRange(item)
		if err != nil {
			return nil, fmt.Errorf("%w; want addresses, CIDRs or ranges", err)
		}
		out = append(out, r)
	}
	return out, nil
}

// Allows reports whether a Service may have addresses of a pool that a is of. A nil
// Allocation allows every Service.
func (a *Allocation) Allows(namespace string, namespaceLabels, labels map[string]string) bool {
	if a == nil {
		return true
	}
	if !AnyMatches(a.ServiceSelectors, labels) {
		return false
	}
	if len(a.Namespaces) == 0 && len(a.NamespaceSelectors) == 0 {
		return true
	}
	// Selectors that match no namespace leave the pool to nobody. MetalLB
	// opens it to everybody then.
	return slices.Contains(a.Namespaces, namespace) ||
		slices.ContainsFunc(a.NamespaceSelectors, func(s Selector) bool { return s.Matches(namespaceLabels) })
}

// gives reports whether an address can be given out from a pool.
func (p *Pool) gives(a netip.Addr) bool {
	return slices.ContainsFunc(p.Addresses, func(r Range) bool { return r.Contains(a) }) && !(p.AvoidBuggyIPs && buggy(a))
}

// Lost returns what Services have of the pool old and would have no more if now were
// all pools, but for what is released. It is sorted by address.
func (p Protection) Lost(old *Pool, now []*Pool, released []Range) []Use {
	var out []Use
	for _, u := range p.InUse {
		if !old.gives(u.Addr) || slices.ContainsFunc(released, func(r Range) bool { return r.Contains(u.Addr) }) {
			continue
		}
		i := slices.IndexFunc(now, func(n *Pool) bool { return n.gives(u.Addr) })
		if i < 0 || p.Judge && u.allowed(old) && !u.allowed(now[i]) {
			out = append(out, u)
		}
	}
	slices.SortFunc(out, func(a, b Use) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Service, b.Service))
	})
	return out
}

func (u Use) allowed(p *Pool) bool {
	return p.Allocation.Allows(u.Namespace, u.NamespaceLabels, u.Labels)
}

// shownUses is how many uses a message names.
const shownUses = 5

// TellUses lists which Service has which address, and how to release them.
func TellUses(uses []Use) string {
	var who, what []string
	for _, u := range uses[:min(len(uses), shownUses)] {
		who = append(who, fmt.Sprintf("%s of %s", u.Addr, u.Service))
		if !slices.Contains(what, u.Addr.String()) {
			what = append(what, u.Addr.String())
		}
	}
	more := ""
	if n := len(uses) - shownUses; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
		what = append(what, "…")
	}
	return fmt.Sprintf("%s%s; if that is meant, annotate it with %s=%s", strings.Join(who, ", "), more, AnnotationRelease, strings.Join(what, ","))
}

// follows reports whether the process that writes an object's status holds this
// generation back, so that what is in force is the version in the status.
func (s *settlement) follows(o Object) bool { return s.protection != nil && o.Withheld }

// end makes a pool that is being deleted a candidate that wants to be gone.
func (s *settlement) end(c *candidate) {
	if s.protection == nil || !c.object.Deleting || c.object.Kind != KindPool {
		return
	}
	if c.fallback == nil {
		c.fallback = c.newest
	}
	c.newest, c.chosen, c.ending = nil, nil, true
	c.reason, c.messages = "", nil
}

// protect adds the pools of a set whose newest version takes away what is in use.
func (s *settlement) protect(found *set) {
	if s.protection == nil {
		return
	}
	var now []*Pool
	for _, p := range found.pools {
		now = append(now, &p.Pool)
	}
	for _, c := range s.candidates {
		old := c.fallback
		if old == nil || old.pool == nil || c.chosen == old || c.chosen == nil && !c.ending {
			continue
		}
		if text := s.withholds(c, now); text != "" {
			found.problems = append(found.problems, problem{reason: VerdictInUse, of: []ID{c.object.ID}, say: func(ID) string { return text }})
		}
	}
}

// withholds returns why the version chosen for a pool may not be in force; empty if it
// may.
func (s *settlement) withholds(c *candidate, now []*Pool) string {
	// A mistake in the annotation of a pool that stays is reported when it is decoded.
	released, _ := ParseRelease(c.object.Annotations[AnnotationRelease])
	if lost := s.protection.Lost(&c.fallback.pool.Pool, now, released); len(lost) > 0 {
		if c.ending {
			return "its deletion would take " + TellUses(lost)
		}
		return "it would take " + TellUses(lost)
	}
	if s.follows(c.object) && !s.protection.Judge && !c.ending {
		return "the controller holds it back"
	}
	return ""
}

// conclude lets pools go that are being deleted and not in use.
func (s *settlement) conclude() {
	for _, c := range s.candidates {
		if c.ending && c.chosen == nil {
			c.refuse(VerdictDeleted, "it is being deleted, and no Service has an address of it")
		}
	}
}

// remember has the verdicts on protected pools say what is in force, always: so that
// an edit while no controller runs is noticed.
func (s *settlement) remember(r Resolved) Resolved {
	if s.protection == nil {
		return r
	}
	for i, c := range s.candidates {
		if c.object.Kind == KindPool && c.chosen != nil {
			r.Verdicts[i].InForce = c.chosen.memory()
		}
	}
	return r
}
