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
		l.around, l.aroundOf = Membership(v), v.Generation
	}
	l.around.Stale = v.Stale
	return l.around
}

// Asked reports whether other agents rely on what this one says that it has sent.
func (l *Layer2) Asked() bool { return l.members != nil && l.members.View().Asked }

// Membership returns the members of gossip as decisions know them.
func Membership(v members.View) announce.Membership {
	return announce.Membership{Stale: v.Stale, Members: membersOf(v.Members), Departed: membersOf(v.Departed)}
}

// membersOf returns members as decisions know them.
func membersOf(list []members.Member) []announce.Member {
	out := make([]announce.Member, len(list))
	for i, m := range list {
		out[i] = announce.Member{Node: m.Name, Leaving: m.Leaving, Damped: m.Damped, Interfaces: m.Interfaces, Held: m.Held, Lost: m.Lost, Answered: m.Answered}
		for _, s := range m.Sent {
			out[i].Sent = append(out[i].Sent, announce.Sent(s))
		}
		for _, f := range m.Faults {
			out[i].Faults = append(out[i].Faults, announce.Fault(f))
		}
	}
	return out
}
