// SPDX-License-Identifier: Apache-2.0

package node

import (
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
	out.Membership = announce.Membership{Stale: v.Stale, Members: membersOf(v.Members), Departed: membersOf(v.Departed)}
	out.Gaps, out.Asked, out.Leaving = v.Gaps, v.Asked, l.leaving() != nil
	alive := map[string]bool{}
	for _, m := range v.Members {
		alive[m.Name] = true
	}
	out.Claims = heard.claims(l.agents.node, alive)
	return out
}

// Asked reports whether other agents rely on what this one says that it has sent.
func (l *Layer2) Asked() bool { return l.members != nil && l.members.View().Asked }

// membersOf returns members as decisions know them.
func membersOf(list []members.Member) []announce.Member {
	out := make([]announce.Member, len(list))
	for i, m := range list {
		out[i] = announce.Member{Node: m.Name, Leaving: m.Leaving, Damped: m.Damped, Interfaces: m.Interfaces, Held: m.Held, Answered: m.Answered}
		for _, s := range m.Sent {
			out[i].Sent = append(out[i].Sent, announce.Sent(s))
		}
	}
	return out
}
