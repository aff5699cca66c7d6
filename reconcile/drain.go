// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"net/netip"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/wake"
)

const (
	// drainLook is the time between two looks for whether FRR sends graceful shutdown.
	drainLook = 100 * time.Millisecond
	// drainSettle is how long an agent that starts on a drained node waits to learn which
	// agents are alive, and what they have sent.
	drainSettle = 10 * time.Second
)

// A drain is where the agent's node stands in its drain, and what the agent remembers of
// it from pass to pass. The zero value is that of an agent that has just started. The loop
// that announces owns it.
type drain struct {
	started time.Time           // the first pass that was put off, see settled; zero: none was
	hold    drainHold           // the time of graceful shutdown
	members announce.Membership // the newest that was not stale
	over    bool                // as of members, the routes were withdrawn
	unseen  overdue             // what other nodes should announce, and were not seen to
}

// A drainInput is what the drain follows from in one pass.
type drainInput struct {
	drain   cluster.Drain // of the node
	members announce.Membership
	first   bool // the agent's first pass
	applied bool // FRR runs what it was given last
}

// A drainStep is what one pass does about the drain.
type drainStep struct {
	holdState
	members announce.Membership   // to decide with
	overdue func(netip.Addr) bool // see announce.Options
}

// next returns where the node stands now, and what the pass does about it.
//
// While the agent does not know for a moment which agents are alive, as after it was
// frozen, a node that drains withdraws nothing more, and announces nothing again.
func (d drain) next(in drainInput, now time.Time) (drain, drainStep) {
	step := drainStep{members: in.members, overdue: d.unseen.long(now)}
	d.hold, step.holdState = d.hold.next(in.drain, in.first, in.applied, now)
	switch {
	case !in.members.Stale:
		d.members, d.over = in.members, step.over
	case len(d.members.Members) > 0:
		step.members, step.over = d.members, step.over && d.over
	}
	return d, step
}

// decided takes in the addresses that other nodes should announce and were not seen to.
// It returns when the first of them is overdue; zero: none will be.
func (d drain) decided(unseen []netip.Addr, now time.Time) (drain, time.Time) {
	var first time.Time
	d.unseen, first = d.unseen.next(unseen, now)
	return d, first
}

// handedOver takes in whether FRR was given a configuration with graceful shutdown.
func (d drain) handedOver(shutdown bool) drain {
	d.hold.handed = shutdown
	return d
}

// settled reports whether an agent that has just started has waited long enough, since
// the first call.
func (d drain) settled(now time.Time) (drain, bool) {
	if d.started.IsZero() {
		d.started = now
	}
	return d, now.Sub(d.started) >= drainSettle
}

// settling reports whether this agent, which has just started, should leave FRR as it is
// for a moment. On a node that was drained long ago it would announce again what other
// nodes announce, until it knows of them, and of what they have sent.
func (a *Agent) settling(s cluster.Tables, around Neighborhood, now time.Time) bool {
	n, _ := cluster.FindNode(s.Nodes, a.opts.Node)
	if a.passed || a.opts.Layer2 == nil || n.Drain.IsZero() || !n.Drain.Expired(now) {
		return false
	}
	a.opts.Layer2.Ask(true)
	if around.AllAnswered(n.Name) {
		return false
	}
	var settled bool
	if a.drain, settled = a.drain.settled(now); settled {
		return false
	}
	a.wakeup.Reset(drainLook)
	return true
}

// A drainHold remembers since when a node sends graceful shutdown, by the node's own
// clock. The age of the annotation does not tell: its time is from the clock of another
// machine. The zero value is that of a node that does not drain.
type drainHold struct {
	handed bool      // FRR was given a configuration with graceful shutdown
	since  time.Time // when FRR was first seen to run it; zero: not yet
	done   bool      // the node had withdrawn its routes before this agent started
}

// next returns the hold now, and how far the node has come.
//
// An agent that starts while the node drains does not know what the agent before it did.
// It starts the hold again, which costs little. It does not if the annotation is so old
// that the hold is over on every clock: then it would announce again what was withdrawn
// long ago.
func (h drainHold) next(d cluster.Drain, first, applied bool, now time.Time) (drainHold, holdState) {
	if d.IsZero() {
		return drainHold{}, holdState{}
	}
	switch {
	case first && d.Expired(now):
		h.done = true
	case h.since.IsZero() && h.handed && applied:
		h.since = now
	}
	until := h.since.Add(d.HoldTime())
	switch {
	case h.done:
		return h, holdState{over: true}
	case h.since.IsZero():
		return h, holdState{look: now.Add(drainLook)}
	case now.Before(until):
		return h, holdState{until: until, look: until}
	}
	return h, holdState{over: true, until: until}
}

// A holdState is how far a node that drains has come.
type holdState struct {
	over  bool      // routes are withdrawn
	until time.Time // when they are, or were; zero: not known
	look  time.Time // look again then; zero: no need
}

// report returns the state for the agent's report.
func (s holdState) report(n cluster.Node) *status.Drain {
	switch {
	case n.DrainError != "":
		return &status.Drain{Error: n.DrainError}
	case n.Drain.IsZero():
		return nil
	}
	return &status.Drain{Wish: n.Drain.String(), Until: s.until, Over: s.over}
}

// overdueAfter is how long a node that drains leaves an address to nodes that are able to
// announce it and were not seen to. The node itself does not announce it.
const overdueAfter = 3 * time.Second

// An overdue remembers since when addresses are unseen.
type overdue map[netip.Addr]time.Time

// next returns the addresses that are unseen now, and when the first of them is overdue;
// zero: none will be.
func (o overdue) next(unseen []netip.Addr, now time.Time) (overdue, time.Time) {
	if len(unseen) == 0 {
		return nil, time.Time{}
	}
	next, first := make(overdue, len(unseen)), time.Time{}
	for _, addr := range unseen {
		since, known := o[addr]
		if !known {
			since = now
		}
		next[addr] = since
		first = wake.Earlier(first, since.Add(overdueAfter))
	}
	return next, first
}

// long returns a function that reports whether an address is overdue. An address that is
// announced again for that reason is not unseen any more.
func (o overdue) long(now time.Time) func(netip.Addr) bool {
	return func(addr netip.Addr) bool {
		since, ok := o[addr]
		return ok && now.Sub(since) >= overdueAfter
	}
}
