// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

// A Membership lists the nodes that are alive, as one agent sees it. It is immutable and
// may be shared.
type Membership struct {
	Disabled bool     // there is no gossip: every Node counts as alive
	Stale    bool     // the agent does not know it now, and announces nothing
	Members  []Member // alive, this node included
	Departed []Member // not alive any more; what they held is Held

	// Claims are the nodes that answer for an address when asked, though gossip does not
	// reach them.
	Claims map[netip.Addr][]Claim
}

// A Claim is an announcement that was heard on the network itself.
type Claim struct {
	Node      string
	Interface string    // of this node, on which it was heard
	Partly    bool      // this node may answer on another interface too, and there that node does not
	At        time.Time // when it was last heard to announce the address
}

// A Member is a node whose agent is alive, with what that agent reports.
type Member struct {
	Node       string
	Leaving    bool         // it is stopping
	Damped     bool         // it has been flapping
	Interfaces []string     // those it can answer on
	Held       []netip.Addr // those it has announced
	Faults     []Fault      // probes that are not answered there, in order
	Unjudged   bool         // Faults has not all of them: what it lacks says nothing
	Lost       time.Time    // of those that departed: their last sign of life; zero: they said goodbye

	Answered bool   // it has reported what it has sent
	Sent     []Sent // that
}

// An electorate is the nodes that may own addresses in one pass.
type electorate struct {
	disabled  bool
	nodes     []*cluster.Node // in the order of their names
	hashes    []uint64
	index     map[string]int
	refused   []status.Reason // why the node announces nothing at all; empty if it may
	members   []Member        // zero: not alive
	tiers     []nodeSet       // the first that has a candidate elects
	self      int             // -1: the cluster has no such Node
	held      map[netip.Addr][]string
	departed  map[netip.Addr]bool // held by members that are not alive any more
	lanClaims map[netip.Addr][]Claim
	faulty    map[Fault]nodeSet // where a probe is not answered
	unjudged  nodeSet           // where any other may not be
}

func newElectorate(nodes []*cluster.Node, self string, m Membership, opts Options) electorate {
	e := electorate{
		disabled:  m.Disabled,
		nodes:     nodes,
		hashes:    make([]uint64, len(nodes)),
		index:     make(map[string]int, len(nodes)),
		refused:   make([]status.Reason, len(nodes)),
		self:      -1,
		held:      map[netip.Addr][]string{},
		departed:  map[netip.Addr]bool{},
		lanClaims: m.Claims,
		unjudged:  newNodeSet(len(nodes)),
	}
	for i, n := range nodes {
		e.hashes[i] = hashText([]byte(n.Name))
		e.index[n.Name] = i
		e.refused[i] = Refusal(*n, true, opts)
		if n.Name == self {
			e.self = i
		}
	}
	e.stand(m)
	for _, member := range m.Members {
		for _, a := range member.Held {
			e.held[a] = append(e.held[a], member.Node)
		}
	}
	for _, holders := range e.held {
		slices.Sort(holders)
	}
	for _, member := range m.Departed {
		for _, a := range member.Held {
			e.departed[a] = true
		}
	}
	if !m.Disabled {
		e.blame(m.Members)
	}
	return e
}

// stand has the members stand for election.
func (e *electorate) stand(m Membership) {
	e.members = make([]Member, len(e.nodes))
	alive, staying, undamped := newNodeSet(len(e.nodes)), newNodeSet(len(e.nodes)), newNodeSet(len(e.nodes))
	add := func(i int, m Member) {
		e.members[i] = m
		if e.refused[i] != "" || e.nodes[i].Drain.Force {
			return // not even as the last
		}
		alive.add(i)
		if !m.Leaving && e.nodes[i].Drain.IsZero() {
			staying.add(i)
			if !m.Damped {
				undamped.add(i)
			}
		}
	}
	if m.Disabled {
		for i, n := range e.nodes {
			add(i, Member{Node: n.Name})
		}
	}
	damped := 0
	for _, member := range m.Members {
		if i, ok := e.index[member.Node]; ok && !m.Disabled {
			add(i, member)
		}
		if member.Damped {
			damped++
		}
	}
	// Damping is for single nodes. When most nodes flap, the network is at fault, and
	// damping would only crowd the addresses onto few nodes.
	if 2*damped <= len(m.Members) {
		e.tiers = append(e.tiers, undamped)
	}
	e.tiers = append(e.tiers, staying, alive)
}

// elect returns the index of the owner of an address, whose hash is key, among the eligible,
// or -1. Of those that are of the same tier it is one with the highest score.
func (e *electorate) elect(key uint64, eligible nodeSet, scores []int) int {
	for _, tier := range e.tiers {
		candidates := tier
		if scores != nil {
			candidates = best(tier.and(eligible), scores)
		}
		if i := winner(key, e.hashes, eligible, candidates); i >= 0 {
			return i
		}
	}
	return -1
}

// claimant returns the index of a node that answers for an address wherever this one may,
// and that would be elected before the owner if gossip reached it; or -1. That node comes
// to the same result, so that one of them remains. Of several it is the one that would be
// elected.
func (e *electorate) claimant(addr netip.Addr, owner int, scores []int) int {
	if owner < 0 {
		return -1
	}
	first := owner
	for _, c := range e.lanClaims[addr] {
		if i, known := e.index[c.Node]; known && !c.Partly && e.before(addr, i, first, scores) {
			first = i
		}
	}
	if first == owner {
		return -1
	}
	return first
}

// claimed returns the interfaces, sorted, on which nodes answer for an address that would
// be elected before the owner if gossip reached them.
func (e *electorate) claimed(addr netip.Addr, owner int, scores []int) (on []string) {
	for _, c := range e.lanClaims[addr] {
		if i, known := e.index[c.Node]; known && e.before(addr, i, owner, scores) {
			on = append(on, c.Interface)
		}
	}
	slices.Sort(on)
	return slices.Compact(on)
}

// before reports whether a node that gossip does not reach would be elected before another.
// One that drains is not, unless both do.
func (e *electorate) before(addr netip.Addr, i, other int, scores []int) bool {
	if i == other || e.refused[i] != "" || e.nodes[i].Drain.Force {
		return false
	}
	if stays := e.nodes[i].Drain.IsZero(); stays != e.nodes[other].Drain.IsZero() {
		return stays
	}
	if scores != nil && scores[i] != scores[other] {
		return scores[i] > scores[other]
	}
	both := newNodeSet(len(e.nodes))
	both.add(i)
	both.add(other)
	return winner(hashAddr(addr), e.hashes, both, both) == i
}

// best returns those nodes of a set that have the highest score.
func best(set nodeSet, scores []int) nodeSet {
	out := newNodeSet(len(scores))
	highest := 0
	for i, score := range scores {
		switch {
		case !set.has(i) || score < highest:
		case score > highest:
			highest = score
			clear(out)
			out.add(i)
		default:
			out.add(i)
		}
	}
	return out
}

// answersOn reports whether a node can answer on one of these interfaces, or on
// any if there are none. Without gossip every node counts as having them.
func (e *electorate) answersOn(i int, interfaces []string) bool {
	has := e.members[i].Interfaces
	if e.disabled {
		return true
	}
	if len(interfaces) == 0 {
		return len(has) > 0
	}
	return slices.ContainsFunc(interfaces, func(name string) bool { return slices.Contains(has, name) })
}

// AllAnswered reports whether it is known which nodes are alive, and what all others have
// sent.
func (m Membership) AllAnswered(self string) bool {
	if m.Disabled || m.Stale {
		return m.Disabled
	}
	return !slices.ContainsFunc(m.Members, func(o Member) bool { return o.Node != self && !o.Leaving && !o.Answered })
}
