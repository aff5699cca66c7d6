// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"fmt"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

const (
	// drainLook is the time between two looks for whether FRR asks for other paths.
	drainLook = 100 * time.Millisecond
	// drainSettle is how long an agent that starts on a drained node waits to know
	// who else is alive, and what they have sent.
	drainSettle = 10 * time.Second
)

// A drainHold remembers since when a node has asked routers for other paths, by
// the node's own clock: how old the annotation is says nothing about that, as it
// has the time of whoever wrote it. The zero value is that of a node that does
// not drain. The loop that announces owns it.
type drainHold struct {
	handed bool      // what FRR was told last asks for other paths
	asked  time.Time // since when it does; zero: not yet
	done   bool      // the node had withdrawn its routes before this agent started
}

// next returns what is true of the hold now. First says that this is the agent's
// first look at the cluster, applied that FRR runs what it was told last.
//
// An agent that starts while the node drains knows nothing of what the one
// before it did. It begins the hold anew, which costs little, unless the
// annotation is so old that the hold must be over whoever's clock it is from:
// it would announce again what was withdrawn long ago.
func (h drainHold) next(d cluster.Drain, first, applied bool, now time.Time) (drainHold, holdState) {
	if d.IsZero() {
		return drainHold{}, holdState{}
	}
	switch {
	case first && d.Expired(now):
		h.done = true
	case h.asked.IsZero() && h.handed && applied:
		h.asked = now
	}
	until := h.asked.Add(d.HoldTime())
	switch {
	case h.done:
		return h, holdState{over: true}
	case h.asked.IsZero():
		return h, holdState{look: now.Add(drainLook)}
	case now.Before(until):
		return h, holdState{until: until, look: until}
	}
	return h, holdState{over: true, until: until}
}

// A holdState says how far a node that drains has come.
type holdState struct {
	over  bool      // routes are withdrawn
	until time.Time // when they are, or were; zero: that is not known
	look  time.Time // look again then; zero: no need
}

// report puts it into words.
func (s holdState) report(n cluster.Node) *status.Drain {
	switch {
	case n.DrainError != "":
		return &status.Drain{Error: n.DrainError}
	case n.Drain.IsZero():
		return nil
	}
	return &status.Drain{Wish: n.Drain.String(), Until: s.until, Over: s.over}
}

// tellDrain says once that the Node's annotation means nothing.
func (a *Agent) tellDrain(n cluster.Node) {
	if n.DrainError == a.misread {
		return
	}
	a.misread = n.DrainError
	if n.DrainError == "" {
		return
	}
	a.opts.Logger.Warn("node does not drain", "node", n.Name, "err", n.DrainError)
	if a.opts.NodeEvents != nil {
		a.opts.NodeEvents(cluster.Event{Warning: true, Reason: EventDrainInvalid,
			Message: fmt.Sprintf("annotation %s: the node does not drain: %s", cluster.AnnotationDrain, n.DrainError)})
	}
}

// tellUnknown says once that annotations of the Node mean nothing.
func (a *Agent) tellUnknown(n cluster.Node) {
	if n.Unknown == a.unknown {
		return
	}
	if a.unknown = n.Unknown; n.Unknown == "" {
		return
	}
	a.opts.Logger.Warn("annotation without a meaning", "node", n.Name, "reason", n.Unknown)
	if a.opts.NodeEvents != nil {
		a.opts.NodeEvents(cluster.Event{Warning: true, Reason: assign.EventUnknown, Message: n.Unknown})
	}
}

// unsettled reports whether this agent, which has just started, should leave FRR as
// it is for a moment: on a node that was drained long ago it would announce again
// what others do, until it knows of them, and what they have sent.
func (a *Agent) unsettled(s cluster.Snapshot, around Neighborhood, now time.Time) bool {
	n, _ := cluster.FindNode(s.Nodes, a.opts.Node)
	if a.passed || a.opts.Layer2 == nil || n.Drain.IsZero() || !n.Drain.Expired(now) {
		return false
	}
	a.opts.Layer2.Ask(true)
	if around.AllAnswered(n.Name) {
		return false
	}
	if a.started.IsZero() {
		a.started = now
	}
	if now.Sub(a.started) >= drainSettle {
		return false
	}
	a.again.Reset(drainLook)
	return true
}

// steady returns what a node that drains goes by while it does not know for a
// moment who is alive, as after it was frozen: it withdraws nothing more, and
// announces nothing again.
func (a *Agent) steady(m announce.Membership, held holdState) (announce.Membership, holdState) {
	switch {
	case !m.Stale:
		a.known, a.drained = m, held.over
	case len(a.known.Members) > 0:
		m, held.over = a.known, held.over && a.drained
	}
	return m, held
}
