// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"iter"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/cluster"
)

// A candidacy is how a node stands for election now that stood otherwise before.
type candidacy struct {
	node int
	tier int // the first one that it is in; their number if it is in none
}

// electorate takes in other members, and adds the addresses to elect for to addrs, and the
// Services whose claims change to dirty. It reports false if all has to be decided again.
//
// A node that is lost changes the addresses that it owned, and one that is back those that
// it wins: the winner of an election has the highest score of all, so that it is compared
// with the nodes that have changed alone.
func (m *Layer2Memory) electorate(now Membership, addrs map[netip.Addr]bool, dirty map[cluster.Key]bool) bool {
	el := m.election
	if now.Disabled || m.members.Disabled || now.Stale != m.members.Stale || now.Stale || !ordered(now.Members) || !ordered(m.members.Members) {
		return false
	}
	next := electorate{nodes: el.nodes, index: el.index, refused: el.refused}
	next.stand(now)
	if len(next.tiers) != len(el.tiers) {
		return false
	}
	var changed []candidacy
	for i := range el.nodes {
		tier := tierOf(next.tiers, i)
		was, is := el.members[i], next.members[i]
		if tierOf(el.tiers, i) != tier || was.Leaving != is.Leaving || was.Damped != is.Damped || !slices.Equal(was.Interfaces, is.Interfaces) {
			changed = append(changed, candidacy{i, tier})
		}
	}
	if slices.ContainsFunc(changed, func(c candidacy) bool { return c.node == el.self }) {
		return false
	}
	el.tiers, el.members = next.tiers, next.members
	if !el.reclassify(changed) {
		return false
	}
	m.gossip(now, addrs)
	m.faults(now, dirty)
	m.touched(changed, addrs, dirty)
	return true
}

// ordered reports whether members are in the order of their names, each there once.
func ordered(members []Member) bool {
	for i := range members[:max(len(members)-1, 0)] {
		if members[i].Node >= members[i+1].Node {
			return false
		}
	}
	return true
}

// pairs returns the members of two lists, both ordered or of the same nodes, node by node.
// The zero Member stands for one that is not there.
func pairs(before, now []Member) iter.Seq2[Member, Member] {
	return func(yield func(Member, Member) bool) {
		for len(before)+len(now) > 0 {
			var was, is Member
			order := 0
			switch {
			case len(before) == 0:
				order = 1
			case len(now) == 0:
				order = -1
			default:
				order = strings.Compare(before[0].Node, now[0].Node)
			}
			if order <= 0 {
				was, before = before[0], before[1:]
			}
			if order >= 0 {
				is, now = now[0], now[1:]
			}
			if !yield(was, is) {
				return
			}
		}
	}
}

// tierOf returns the first tier that a node is in.
func tierOf(tiers []nodeSet, i int) int {
	for t, tier := range tiers {
		if tier.has(i) {
			return t
		}
	}
	return len(tiers)
}

// reclassify brings the classes in line with the members that have changed. It reports false
// if a class has its first eligible node, or has none any more: such Services count
// differently. Claims of Services whose traffic does not stay local have the set of their
// class, and change with it.
func (el *layer2Election) reclassify(changed []candidacy) bool {
	for ads, c := range el.made {
		empty := c.eligible.empty()
		for _, d := range changed {
			c.eligible.remove(d.node)
			for _, ad := range ads.Layer2 {
				if ad.AppliesToNode(el.nodes[d.node].Labels) && el.answersOn(d.node, ad.Interfaces) {
					c.eligible.add(d.node)
				}
			}
		}
		if empty != c.eligible.empty() {
			return false
		}
	}
	return true
}

// touched adds the addresses whose election may come out differently to addrs, and the
// Services to dirty whose nodes may be others: those with endpoints on nodes that have
// changed, if only such nodes may answer, and those with probes.
func (m *Layer2Memory) touched(changed []candidacy, addrs map[netip.Addr]bool, dirty map[cluster.Key]bool) {
	el := m.election
	names := make(map[string]bool, len(changed))
	owners := newNodeSet(len(el.nodes))
	for _, c := range changed {
		names[el.nodes[c.node].Name] = true
		owners.add(c.node)
	}
	for key, claims := range m.claims {
		switch {
		case slices.ContainsFunc(claims, func(c layer2Claim) bool { return c.probed }):
			dirty[key] = true
			continue
		case claims[0].local:
			endpoints, _ := m.endpoints.Get(key)
			if slices.ContainsFunc(endpoints, func(e cluster.Endpoint) bool { return names[e.Node] }) {
				dirty[key] = true
			}
			continue
		}
		for _, c := range claims {
			addr := c.decision.Addr
			g := el.groups[addr]
			switch {
			case g == nil, len(m.users[addr]) > 1, g.owner < 0, owners.has(g.owner), c.damped, len(el.lanClaims[addr]) > 0:
				addrs[addr] = true
			case slices.ContainsFunc(changed, func(d candidacy) bool { return c.eligible.has(d.node) && el.beats(d, g) }):
				addrs[addr] = true
			}
		}
	}
}

// beats reports whether an eligible node that has changed wins against the owner of a group's
// address, which has not. Whether it stood before does not matter: it did not win.
func (el *layer2Election) beats(d candidacy, g *group) bool {
	if owner := tierOf(el.tiers, g.owner); d.tier != owner {
		return d.tier < owner
	}
	if g.scores != nil && g.scores[d.node] != g.scores[g.owner] {
		return g.scores[d.node] > g.scores[g.owner]
	}
	a, b := mix(el.hashes[d.node]^g.key), mix(el.hashes[g.owner]^g.key)
	return a > b || a == b && d.node < g.owner
}
