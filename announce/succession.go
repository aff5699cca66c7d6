// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
)

// A Sent is what a node was seen to have sent to some of its BGP peers: the routes
// of these addresses are in the Adj-RIB-Out of a session that is up with each.
type Sent struct {
	Peers []string        // names
	Runs  [][2]netip.Addr // first and last address of each run, in order; a run stays within one /64
}

// Contains reports whether an address is in one of the runs.
func (s Sent) Contains(a netip.Addr) bool {
	after, exact := slices.BinarySearchFunc(s.Runs, a, func(run [2]netip.Addr, a netip.Addr) int { return run[0].Compare(a) })
	return exact || after > 0 && a.Compare(s.Runs[after-1][1]) <= 0
}

// A Succession is what is known of the nodes that are to announce over BGP what this node
// withdraws.
type Succession struct {
	Due       bool   // the rules have another node announce it, alive or not
	Able      bool   // the agent of one of them is alive and not stopping
	Confirmed bool   // one of those was seen to have sent a route of it to a peer
	Brief     bool   // this node does not serve the address well: it withdraws soon after that
	Detail    string // why not; empty: it was
}

// A succession determines them for one pass.
type succession struct {
	unknown bool // it is not known which nodes are alive: none counts as alive
	nodes   []successor
	classes map[successionKey]*heirs
}

// A successor is another node that may take over routes, with the peers that run there.
type successor struct {
	name     string
	labels   map[string]string
	sessions []session
	alive    bool // and does not stop
	answered bool
	sent     []Sent
	faults   []Fault
	unjudged bool // it may have other faults
}

// A successionKey is what the nodes that may announce an address depend on, but for
// endpoints.
type successionKey struct {
	ads  *Ads
	is4  bool
	peer string // only sessions with this one; empty: any
}

// heirs are the nodes that may announce addresses of one key, if they have the
// endpoints that are needed.
type heirs struct {
	nodes  []heir
	able   bool   // one is alive
	seen   []heir // those that are, and were seen to have sent something
	detail string // for Services that any of them may announce; empty: not made yet
}

type heir struct {
	*successor
	peers []string
}

// newSuccession looks at all nodes but n.
func newSuccession(cfg *config.Config, nodes []*cluster.Node, n cluster.Node, opts Options) *succession {
	x := &succession{
		unknown: opts.Members.Disabled || opts.Members.Stale,
		classes: map[successionKey]*heirs{},
	}
	members := make(map[string]*Member, len(opts.Members.Members))
	for i := range opts.Members.Members {
		members[opts.Members.Members[i].Node] = &opts.Members.Members[i]
	}
	for _, other := range nodes {
		if other.Name == n.Name || !other.Outlasts(n) || Refusal(*other, true, opts) != "" {
			continue
		}
		_, _, sessions := sessionsOf(*cfg, *other, true, nil)
		if len(sessions) == 0 {
			continue
		}
		next := successor{name: other.Name, labels: other.Labels, sessions: sessions}
		if m := members[other.Name]; m != nil && !m.Leaving && !x.unknown {
			next.alive, next.answered, next.faults, next.unjudged = true, m.Answered, m.Faults, m.Unjudged
			if m.Answered {
				next.sent = m.Sent
			}
		}
		x.nodes = append(x.nodes, next)
	}
	return x
}

// of returns what is known of the nodes that take over an address of a Service: to a
// peer if one is named, else to any. Nodes that may have one of these faults do not count.
func (x *succession) of(svc *cluster.Service, pool *Pool, addr netip.Addr, endpoints []cluster.Endpoint, peer string, faults ...Fault) Succession {
	h := x.heirs(pool.Ads(svc.Labels).With(newReach(endpoints, "").of(addr.Is4()).ready), addr.Is4(), peer)
	out := Succession{Due: len(h.nodes) > 0, Able: h.able}
	suits := func(heir) bool { return true }
	if svc.Local || len(faults) > 0 {
		suits = func(n heir) bool {
			return (!svc.Local || n.serves(addr, endpoints)) && !slices.ContainsFunc(faults, n.mayHave)
		}
		out.Due = slices.ContainsFunc(h.nodes, suits)
		out.Able = slices.ContainsFunc(h.nodes, func(n heir) bool { return n.alive && suits(n) })
	}
	if slices.ContainsFunc(h.seen, func(n heir) bool { return n.hasSent(addr) && suits(n) }) {
		out.Confirmed = true
		return out
	}
	switch {
	case x.unknown:
		out.Detail = aliveUnknown
	case !out.Able:
		out.Detail = noOther
	case svc.Local, len(faults) > 0:
		out.Detail = unseen(h.nodes, suits)
	default:
		if h.detail == "" {
			h.detail = unseen(h.nodes, suits)
		}
		out.Detail = h.detail
	}
	return out
}

// serves reports whether a node has endpoints for an address: ready ones, if any node has.
func (n heir) serves(addr netip.Addr, endpoints []cluster.Endpoint) bool {
	r := newReach(endpoints, n.name)
	return r.refusal(addr.Is4(), true) == "" && !r.terminating(addr.Is4())
}

// leave records who takes over an address that this node announces, could still serve,
// and is not to announce any more. An address that no node is to announce is withdrawn at
// once, unless it is this Node that has vanished: it may come back. One whose probe fails
// goes to nodes on which it does not.
func (a *announcer) leave(d status.Decision, svc *cluster.Service, pool *Pool, reach reach, endpoints []cluster.Endpoint, faults []Fault) {
	switch d.Reason {
	case status.ProbeFailed:
		if len(faults) == 0 {
			return // no node is to announce what fails
		}
	case status.NodeNotSelected, status.NodeExcluded, status.NodeUnknown, status.EndpointsTerminating:
	case status.NoPeers:
		if !slices.ContainsFunc(a.policies.sessions, func(s session) bool { return s.carries(d.Addr.Is4()) }) {
			return // the peers that had it are no neighbors any more
		}
	default:
		return
	}
	if a.opts.Announces == nil || a.opts.Members.Disabled || !a.opts.Announces(d.Addr) || reach.refusal(d.Addr.Is4(), svc.Local) != "" {
		return
	}
	if d.Reason != status.ProbeFailed {
		faults = nil
	}
	s := a.succession().of(svc, pool, d.Addr, endpoints, "", faults...)
	s.Due, s.Brief = s.Due || d.Reason == status.NodeUnknown, d.Reason == status.ProbeFailed
	if !s.Due {
		return
	}
	if a.left == nil {
		a.left = map[netip.Addr]Succession{}
	}
	a.left[d.Addr] = s
}

// keep records which nodes send an address to the peers that are kept.
func (a *announcer) keep(d status.Decision, svc *cluster.Service, pool *Pool, endpoints []cluster.Endpoint) {
	if !d.Announce {
		return
	}
	for _, peer := range a.opts.Kept {
		if !slices.Contains(d.Peers, peer) {
			continue
		}
		s := a.succession().of(svc, pool, d.Addr, endpoints, peer)
		if !s.Due {
			continue // no node is to
		}
		if a.kept == nil {
			a.kept = map[string]Succession{}
		}
		if all, ok := a.kept[peer]; !ok || all.Confirmed {
			a.kept[peer] = s
		}
	}
}

// hasSent reports whether the node was seen to have sent a route of the address to a
// peer that the advertisements are for.
func (n heir) hasSent(addr netip.Addr) bool {
	return slices.ContainsFunc(n.sent, func(s Sent) bool {
		return slices.ContainsFunc(s.Peers, func(p string) bool { return slices.Contains(n.peers, p) }) && s.Contains(addr)
	})
}

// heirs returns the nodes that have a session for addresses that these advertisements apply
// to, by the same rules as this one.
func (x *succession) heirs(ads *Ads, is4 bool, peer string) *heirs {
	key := successionKey{ads, is4, peer}
	h := x.classes[key]
	if h != nil {
		return h
	}
	h = &heirs{}
	x.classes[key] = h
	for i := range x.nodes {
		n := &x.nodes[i]
		var peers []string
		for _, ad := range ads.BGP {
			if !ad.AppliesToNode(n.labels) {
				continue
			}
			for _, s := range n.sessions {
				if s.carries(is4) && (len(ad.Peers) == 0 || slices.Contains(ad.Peers, s.name)) && (peer == "" || s.name == peer) {
					peers = append(peers, s.name)
				}
			}
		}
		if len(peers) > 0 {
			h.nodes = append(h.nodes, heir{n, peers})
			h.able = h.able || n.alive
			if len(n.sent) > 0 {
				h.seen = append(h.seen, heir{n, peers})
			}
		}
	}
	return h
}

// Details of a decision to keep announcing an address.
const (
	noOther      = "no other announces the address"
	aliveUnknown = "which other nodes are alive is not known"
)

// unseen returns why none of those nodes of a list that are alive, and that suit, was seen to
// announce an address.
func unseen(nodes []heir, suits func(heir) bool) string {
	var silent, idle, late names
	for _, n := range nodes {
		switch {
		case !n.alive || !suits(n):
		case !n.answered:
			silent.add(n.name)
		case len(n.sent) == 0:
			idle.add(n.name)
		default:
			late.add(n.name)
		}
	}
	var parts []string
	say := func(text string, n names) {
		if len(n.first) > 0 {
			parts = append(parts, text+n.String())
		}
	}
	say("no other node's session that carries it is up: ", idle)
	say("no route of it was sent yet from ", late)
	say("no answer yet from ", silent)
	return strings.Join(parts, "; ")
}

// names are the first of some names, and how many more there are.
type names struct {
	first []string
	more  int
}

func (n *names) add(name string) {
	const most = 3
	if len(n.first) < most {
		n.first = append(n.first, name)
	} else {
		n.more++
	}
}

// String returns the first names, and how many more there are.
func (n names) String() string {
	text := strings.Join(n.first, ", ")
	if n.more > 0 {
		text += fmt.Sprintf(" and %d more", n.more)
	}
	return text
}

// LeftWhy is the detail of a decision to keep a route that the node is not to announce.
func LeftWhy(refusal status.Reason, s Succession) string {
	if s.Confirmed {
		return string(refusal) + ": another node announces it, and routers follow"
	}
	return string(refusal) + ", but " + s.Detail
}
