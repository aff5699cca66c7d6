// SPDX-License-Identifier: Apache-2.0

package l2

import "time"

// A Rival is another load balancer on a node of the cluster, MetalLB for example,
// that answers for an address which is wanted here. The zero value is none.
type Rival struct {
	Node string    // the node that it runs on
	At   time.Time // when it was heard last
}

const (
	// lately is how long after it came to an interface a fresh address is still left
	// to a rival: what answers then has answered before.
	lately = 5 * time.Second

	// rivalAge is how long a rival is reported that answers beside this node and is
	// not asked any more.
	rivalAge = conflictAge

	// otherInterfaces is how long after a rival was heard a claim of an unknown
	// hardware address on another interface is taken for the same rival's.
	otherInterfaces = 10 * time.Second

	// maxStrangers is how many answers of an unknown hardware address a deferred
	// address takes for those of a rival, which may be heard on another interface
	// a moment later.
	maxStrangers = 3
)

// mayDefer reports whether a fresh address is asked for before it is announced.
func (e *engine) mayDefer(now time.Time) bool {
	if e.in.nodesKnown || !e.a.opts.Nodes {
		return len(e.in.nodes) > 0
	}
	return now.Sub(e.begun) < awaitNodes
}

// rivalOf returns the node whose hardware address made a claim, if no agent of ours
// is there; empty if it is no such node.
func (e *engine) rivalOf(h heard, rec *record, now time.Time) string {
	if node := e.in.nodes[h.mac]; node != "" {
		rec.rivalOn = h.link
		return node
	}
	// A node has more interfaces than those that its Node object tells.
	if r := rec.rival; r != (Rival{}) && h.link != rec.rivalOn && now.Sub(r.At) < otherInterfaces && !e.in.friends[h.mac] {
		return r.Node
	}
	return ""
}

// contest takes note of a rival's claim. A fresh address is left to the rival; one
// that this node has had for longer stays, so that no claim takes it away.
func (e *engine) contest(p *presence, r Rival, now time.Time) {
	e.setRival(p.record, r)
	fresh := p.record.want.Fresh
	switch {
	case p.phase == Deferred:
		p.probes = silence
	case fresh && (p.phase == Probing || p.phase == Refused || p.phase == Announced && now.Sub(p.since) < lately):
		e.enter(p, Deferred, now)
		p.probes = silence
	}
}

// doubt reports whether the claim of an unknown hardware address is a stranger's. While
// an address is deferred that takes a few of them.
func (e *engine) doubt(p *presence, now time.Time) (stranger bool) {
	if p.phase != Deferred {
		return true
	}
	p.strangers++
	if p.strangers < maxStrangers {
		p.probes = max(p.probes, 1)
		return false
	}
	e.enter(p, Announced, now)
	return true
}

// deferredBeside reports whether the address is deferred on another interface too.
func (rec *record) deferredBeside(p *presence) bool {
	for _, o := range rec.presences {
		if o != p && o.phase == Deferred {
			return true
		}
	}
	return false
}

// setRival makes r the rival that is known of an address; the zero Rival is none. One
// that is heard again soon changes nothing.
func (e *engine) setRival(rec *record, r Rival) {
	old := rec.rival
	if r.Node == old.Node && r.At.Sub(old.At) < claimStep {
		return
	}
	rec.rival = r
	e.changed = true
	switch {
	case old.Node == r.Node:
	case r.Node == "":
		e.a.opts.Logger.Info("no other load balancer answers for the address any more", "addr", rec.want.Addr, "node", old.Node)
	default:
		e.a.opts.Logger.Warn("another load balancer answers for the address", "addr", rec.want.Addr, "node", r.Node)
	}
}

// reconsider takes claims of strangers that turn out to be nodes of the cluster for
// those of rivals.
func (e *engine) reconsider(now time.Time) {
	for _, rec := range e.records {
		c := rec.conflict
		node := e.in.nodes[c.MAC]
		if c == (Claim{}) || node == "" {
			continue
		}
		rec.conflict = Claim{}
		e.changed = true
		for _, p := range rec.presences {
			if p.station.link.Name == c.Interface {
				rec.rivalOn = p.station.link.Index
				e.contest(p, Rival{Node: node, At: c.At}, now)
			}
		}
	}
}
