// SPDX-License-Identifier: Apache-2.0

package node

import (
	"slices"
	"strings"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/l2/members"
	"github.com/heraldlb/herald/reconcile"
)

// Neighborhood returns what is known of the network. It changes nothing.
func (l *Layer2) Neighborhood() reconcile.Neighborhood {
	heard := l.heard()
	out := reconcile.Neighborhood{Conflicts: heard.conflicts, Answered: heard.answered}
	if l.members == nil {
		out.Disabled = true
		return out
	}
	v := l.members.View()
	out.Membership = l.membership(v)
	out.Gaps, out.Asked, out.Leaving = v.Gaps, v.Asked, l.leaving() != nil
	out.Claims = heard.claims(l.agents.node, func(node string) bool {
		_, alive := slices.BinarySearchFunc(v.Members, node, func(m members.Member, name string) int { return strings.Compare(m.Name, name) })
		return alive
	})
	return out
}

// membership returns Membership of a view. While its members stay, so do the lists.
func (l *Layer2) membership(v members.View) announce.Membership {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.around.Members == nil || l.aroundOf != v.Generation {
		l.around, l.met = membershipOf(v, l.met)
		l.aroundOf = v.Generation
	}
	l.around.Stale = v.Stale
	return l.around
}

// Asked reports whether other agents rely on what this one says that it has sent.
func (l *Layer2) Asked() bool { return l.members != nil && l.members.View().Asked }

// Membership returns the members of gossip as decisions know them.
func Membership(v members.View) announce.Membership {
	m, _ := membershipOf(v, nil)
	return m
}

// An acquaintance is a member as gossip and as decisions know it.
type acquaintance struct {
	of members.Member
	is announce.Member
}

// membershipOf returns the members of gossip as decisions know them. Lists of a member that
// are those of before stay the same lists, so that decisions see what has changed at once.
func membershipOf(v members.View, before map[string]acquaintance) (announce.Membership, map[string]acquaintance) {
	met := make(map[string]acquaintance, len(v.Members)+len(v.Departed))
	all := func(list []members.Member) []announce.Member {
		out := make([]announce.Member, len(list))
		for i, m := range list {
			out[i] = before[m.Name].next(m)
			met[m.Name] = acquaintance{m, out[i]}
		}
		return out
	}
	return announce.Membership{Stale: v.Stale, Members: all(v.Members), Departed: all(v.Departed)}, met
}

// next returns a member as decisions know it.
func (a acquaintance) next(m members.Member) announce.Member {
	out := announce.Member{
		Node: m.Name, Leaving: m.Leaving, Damped: m.Damped, Interfaces: m.Interfaces, Held: m.Held, Lost: m.Lost, Unjudged: !m.Judged,
		Answered: m.Answered, Faults: a.is.Faults, Sent: a.is.Sent,
	}
	if !sameSlice(a.of.Faults, m.Faults) {
		out.Faults = convert(m.Faults, func(f members.Fault) announce.Fault { return announce.Fault(f) })
	}
	if !sameSlice(a.of.Sent, m.Sent) {
		out.Sent = convert(m.Sent, func(s members.Sent) announce.Sent { return announce.Sent(s) })
	}
	return out
}

// sameSlice reports whether two lists are one.
func sameSlice[E any](a, b []E) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// convert returns a list of other elements.
func convert[A, B any](list []A, to func(A) B) []B {
	if len(list) == 0 {
		return nil
	}
	out := make([]B, len(list))
	for i, e := range list {
		out[i] = to(e)
	}
	return out
}
