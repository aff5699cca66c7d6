// SPDX-License-Identifier: Apache-2.0

package node

import (
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/l2/members"
	"github.com/heraldlb/herald/reconcile"
)

// Neighborhood returns what is known of the network. It changes nothing.
func (l *Layer2) Neighborhood() reconcile.Neighborhood {
	state := l.announcer.State()
	out := reconcile.Neighborhood{Conflicts: conflicts(state), Answered: answered(state), AnsweredOn: state.AnsweredOn}
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
	out.Claims = claims(state, l.agents.node, alive)
	return out
}

// Asked reports whether other agents rely on what this one says that it has sent.
func (l *Layer2) Asked() bool { return l.members != nil && l.members.View().Asked }

// claims returns the nodes that are not alive, as far as gossip knows, but answer for an
// address, and on which interfaces.
func claims(s l2.State, nodeOf func(l2.MAC) string, alive map[string]bool) (out map[netip.Addr][]announce.Claim) {
	for _, a := range s.Addresses {
		answers := func(node, on string) bool {
			return slices.ContainsFunc(a.Contenders, func(c l2.Claim) bool { return c.Interface == on && nodeOf(c.MAC) == node })
		}
		for _, c := range a.Contenders {
			node := nodeOf(c.MAC)
			if node == "" || alive[node] {
				continue
			}
			partly := slices.ContainsFunc(a.Presences, func(p l2.Presence) bool { return !answers(node, p.Interface) })
			if out == nil {
				out = map[netip.Addr][]announce.Claim{}
			}
			out[a.Addr] = append(out[a.Addr], announce.Claim{Node: node, Interface: c.Interface, Partly: partly, At: c.At})
		}
	}
	return out
}

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

// conflicts returns the addresses that another host has which runs no agent: a
// stranger, or a node of the cluster with another load balancer.
func conflicts(s l2.State) map[netip.Addr]reconcile.Conflict {
	var out map[netip.Addr]reconcile.Conflict
	for _, a := range s.Addresses {
		if a.Conflict == (l2.Claim{}) && a.Rival == (l2.Rival{}) {
			continue
		}
		if out == nil {
			out = map[netip.Addr]reconcile.Conflict{}
		}
		out[a.Addr] = reconcile.Conflict{
			By:   a.Conflict.MAC.String(),
			On:   a.Conflict.Interface,
			Node: a.Rival.Node,
			More: max(0, a.Claimants-1),
			Refused: slices.ContainsFunc(a.Presences, func(p l2.Presence) bool { return p.Phase == l2.Deferred }) ||
				!slices.ContainsFunc(a.Presences, func(p l2.Presence) bool { return p.Phase == l2.Announced || p.Phase == l2.Quiet }),
		}
	}
	return out
}

// answered returns the addresses that this node was seen to answer for, in order.
func answered(s l2.State) []netip.Addr {
	var out []netip.Addr
	for _, a := range s.Addresses {
		if a.Confirmed {
			out = append(out, a.Addr)
		}
	}
	return out
}
