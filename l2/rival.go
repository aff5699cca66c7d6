// SPDX-License-Identifier: Apache-2.0

package l2

import "time"

// A Rival is another load balancer, such as MetalLB, that answers for a wanted address on
// a node of the cluster. The zero value is none.
type Rival struct {
	Node string    // the node that it runs on
	At   time.Time // of its last claim
}

const (
	// lately is how long a fresh address on an interface is still left to a rival: a rival
	// that answers in that time has been there before.
	lately = 5 * time.Second

	// rivalAge is how long a rival is reported after its last claim, for an address that
	// this node announces too.
	rivalAge = conflictAge

	// otherInterfaces is how long after a rival's claim a claim of an unknown hardware
	// address on another interface counts as the same rival's.
	otherInterfaces = 10 * time.Second

	// maxStrangers is the number of answers of an unknown hardware address after which a
	// stranger has a deferred address. Fewer may come from a rival's other interface.
	maxStrangers = 3
)

// mayDefer reports whether a fresh address has to be asked for before it is announced.
func (e *engine) mayDefer(now time.Time) bool {
	if e.in.nodesKnown || !e.a.opts.Nodes {
		return len(e.in.nodes) > 0
	}
	return now.Sub(e.begun) < awaitNodes
}

// rivalOf returns the node that made a claim, if it is one of the cluster without an
// agent; else it is empty.
func (e *engine) rivalOf(h linkClaim, rec *record, now time.Time) string {
	if node := e.in.nodes[h.mac]; node != "" {
		rec.rivalOn = h.link
		return node
	}
	// A node may have more interfaces than the one of its Node object.
	if r := rec.rival; r != (Rival{}) && h.link != rec.rivalOn && now.Sub(r.At) < otherInterfaces && !e.in.friends[h.mac] {
		return r.Node
	}
	return ""
}

// yieldTo records a rival's claim. A fresh address is left to the rival. An address that
// this node has had for longer stays, so that no claim takes it away.
func (e *engine) yieldTo(p *presence, r Rival, now time.Time) {
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

// isStranger reports whether the claim of an unknown hardware address is a stranger's.
// While an address is deferred, only the third one is.
func (e *engine) isStranger(p *presence, now time.Time) bool {
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

// deferredElsewhere reports whether the address is deferred on another interface too.
func (rec *record) deferredElsewhere(p *presence) bool {
	for _, o := range rec.presences {
		if o != p && o.phase == Deferred {
			return true
		}
	}
	return false
}

// setRival sets the rival of an address; the zero Rival is none. A claim of the same rival
// soon after another changes nothing.
func (e *engine) setRival(rec *record, r Rival) {
	old := rec.rival
	if r.Node == old.Node && r.At.Sub(old.At) < claimStep {
		return
	}
	rec.rival = r
	e.touch(rec.want.Addr)
	switch {
	case old.Node == r.Node:
	case r.Node == "":
		e.a.opts.Logger.Info("no other load balancer answers for the address any more", "addr", rec.want.Addr, "node", old.Node)
	default:
		e.a.opts.Logger.Warn("another load balancer answers for the address", "addr", rec.want.Addr, "node", r.Node)
	}
}

// reclassify turns conflicts with strangers that turn out to be nodes of the cluster into
// claims of rivals.
func (e *engine) reclassify(now time.Time) {
	for _, rec := range e.records {
		c := rec.conflict
		node := e.in.nodes[c.MAC]
		if c == (Claim{}) || node == "" {
			continue
		}
		rec.conflict, rec.claimants = Claim{}, nil
		e.touch(rec.want.Addr)
		for _, p := range rec.presences {
			if p.station.link.Name == c.Interface {
				rec.rivalOn = p.station.link.Index
				e.yieldTo(p, Rival{Node: node, At: c.At}, now)
			}
		}
	}
}
