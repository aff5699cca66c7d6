// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/wake"
)

// A view is what a pass of the agent goes by.
type view struct {
	snapshot cluster.Snapshot
	around   Neighborhood
	node     cluster.Node // the agent's, as it counts
	drain    drainStep
	opts     announce.Options
	now      time.Time
	next     time.Time // the next pass then, should nothing change before; zero: no need
}

// again brings the next pass forward; the zero time does not.
func (v *view) again(at time.Time) { v.next = wake.Earlier(v.next, at) }

// A decision is what the node should announce over each protocol.
type decision struct {
	bgp    announce.Desired
	layer2 announce.DesiredLayer2
}

// announce looks, decides, hands over and reports. It returns how to see the effect.
func (a *Agent) announce(s cluster.Snapshot, around Neighborhood, readiness announce.Readiness, now time.Time, r *status.Report) Seen {
	v := a.look(s, around, now)
	v.opts.Readiness = readiness
	a.warnDrain(v.node)
	a.warnUnknown(v.node)
	d := a.decide(&v)
	out := a.memory.Next(d.bgp, d.layer2, around.Gaps, a.sent, now)
	noteConflicts(out.Decisions, around.Conflicts)
	a.damp(&v, out.Decisions)
	r.Error = a.handOver(&v, d, out)
	if a.opts.Events != nil && a.passed {
		v.again(a.sendEvents(s, out.Decisions, around, now))
		a.warnNoInterface(s, d.layer2)
	}
	if len(readiness.Waived)+len(a.waived) > 0 {
		a.warnWaived(s, out.Decisions, readiness.Waived)
	}
	a.wakeAt(v.next, now)
	a.decisions, a.noInterface, a.passed = out.Decisions, d.layer2.NoInterface, true
	r.Drain, r.Decisions, r.Peers = v.drain.report(v.node), out.Decisions, d.bgp.Peers
	return Seen{
		Node: a.opts.Node, Decisions: out.Decisions, Peers: d.bgp.Peers,
		SentTo: a.opts.Routers.SentTo, Answered: around.Answered, AnsweredOn: around.AnsweredOn,
	}
}

// look gathers what the pass goes by.
func (a *Agent) look(s cluster.Snapshot, around Neighborhood, now time.Time) view {
	a.index = a.index.Of(s.Config)
	a.node = a.node.next(s.Nodes, a.opts.Node, now)
	v := view{snapshot: s, around: around, node: a.node.last, opts: a.opts.Announce, now: now}
	a.drain, v.drain = a.drain.next(drainInput{
		drain: v.node.Drain, members: around.Membership, first: !a.passed, applied: a.opts.FRR.Applied(),
	}, now)
	v.opts.Index, v.opts.Gone, v.opts.Leaving = a.index, a.node.gone(now), around.Leaving
	v.opts.Members, v.opts.Drained, v.opts.Overdue = v.drain.members, v.drain.over, v.drain.overdue
	v.opts.Damped = a.flaps.Damped(now)
	if a.passed {
		v.opts.Announces = a.memory.Announces
	}
	v.again(v.drain.look)
	v.again(a.node.until(now))
	return v
}

// decide decides what the node should announce.
func (a *Agent) decide(v *view) decision {
	var d decision
	var keptUntil, overdueAt time.Time
	d.bgp, keptUntil = a.decideBGP(v.snapshot, v.node, v.opts, v.now)
	a.drain, overdueAt = a.drain.decided(d.bgp.Unseen, v.now)
	if a.opts.Layer2 != nil {
		d.layer2 = announce.Layer2(v.snapshot, a.opts.Node, v.around.Membership, v.opts)
	}
	v.again(keptUntil)
	v.again(overdueAt)
	return d
}

// damp takes note of what the node withdraws as its endpoints are gone, and warns about
// what is damped from now on.
func (a *Agent) damp(v *view, decisions []status.Decision) {
	var news []status.Decision
	var again time.Time
	a.flaps, news, again = a.flaps.Next(a.decisions, decisions, v.now)
	v.again(again)
	if a.opts.Events != nil {
		a.warnFlapping(v.snapshot, news, v.now)
	}
}

// handOver hands what follows to layer 2, to other agents and to FRR. It returns why FRR
// was given nothing; empty: it was.
func (a *Agent) handOver(v *view, d decision, out handover.Outcome) string {
	v.again(out.Next)
	if a.opts.Layer2 != nil {
		a.opts.Layer2.Set(out.Answers)
	}
	a.confer(v.around, d.bgp, out, v.now)
	if id := d.bgp.MadeID; id.IsValid() && id != a.loggedRouterID {
		a.opts.Logger.Info("router ID made from the node's name, as the node has no IPv4 address", "id", id)
	}
	a.loggedRouterID = d.bgp.MadeID
	failure := a.apply(out.BGP)
	a.drain = a.drain.handedOver(failure == "" && !v.node.Drain.IsZero())
	return failure
}

// wakeAt asks for the next pass at a time; zero: not before something changes.
func (a *Agent) wakeAt(at, now time.Time) {
	if at.IsZero() {
		a.wakeup.Stop()
	} else {
		a.wakeup.Reset(at.Sub(now))
	}
}
