// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"net/netip"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
	"github.com/heraldlb/herald/wake"
)

// A view is what a pass of the agent goes by.
type view struct {
	cluster cluster.Tables
	around  Neighborhood
	node    cluster.Node // the agent's, as it counts
	drain   drainStep
	opts    announce.Options
	now     time.Time
	next    time.Time // the next pass then, should nothing change before; zero: no need
}

// again brings the next pass forward; the zero time does not.
func (v *view) again(at time.Time) { v.next = wake.Earlier(v.next, at) }

// A decision is what the node should announce over each protocol.
type decision struct {
	bgp    announce.DesiredTables
	layer2 announce.Layer2Tables
}

// announce looks, decides, hands over and reports. It returns how to see the effect.
func (a *Agent) announce(s cluster.Tables, around Neighborhood, readiness announce.Readiness, now time.Time, r *status.Report) func() ServiceStatuses {
	v := a.look(s, around, now)
	v.opts.Readiness = readiness
	a.warnDrain(v.node)
	a.warnUnknown(v.node)
	a.warnExcluded(v.node)
	d := a.decide(&v)
	sent := a.sent
	if a.verifier.on {
		sent = remembering(a.opts.Routers.Sent)
	}
	verify := a.verifier.decide(&v, a.opts.Node, a.opts.Layer2 != nil, sent)
	out := a.memory.Next(d.bgp, d.layer2, around.Gaps, sent, now)
	if differ := verify(out); differ != "" {
		a.opts.Logger.Error(MessageDiffer, "err", differ)
	}
	out.Decisions = noteConflicts(out.Decisions, a.decisions, around.Conflicts)
	a.damp(&v, out.Decisions)
	a.noteMembers(around.Membership, now)
	a.noteDecisions(s, out.Decisions, now)
	tenures := a.tenures.next(a.decisions, out.Decisions, now)
	r.Error = a.handOver(&v, d, out)
	if a.opts.Took != nil {
		a.waits.next(announced{networks: a.applied.given, sent: a.opts.Routers.AllSent(), answers: out.Answers, answered: around.Answered}, around.Membership, now, a.opts.Took)
	}
	if a.opts.Events != nil && a.passed {
		v.again(a.sendEvents(s, out.Decisions, around, now))
		a.warnNoInterface(s, d.layer2)
	}
	if len(readiness.Waived)+len(a.waived) > 0 {
		a.warnWaived(s, out.Decisions, readiness)
	}
	a.readiness = readiness
	a.wakeAt(v.next, now)
	a.decisions, a.elections, a.passed, a.resumes = out.Decisions, d.layer2.Elections, true, nil
	r.Drain, r.Peers = v.drain.report(v.node), d.bgp.Frame.Peers
	r.Decide = func() []status.Decision { return listSince(out.Decisions, tenures) }
	return func() ServiceStatuses {
		seen := Seen{Node: a.opts.Node, Decisions: out.Decisions, Peers: d.bgp.Frame.Peers, Sent: a.opts.Routers.AllSent(), Answered: around.Answered}
		statuses := a.seen.Next(seen)
		if differ := a.verifier.statuses(seen, statuses); differ != "" {
			a.opts.Logger.Error(MessageDiffer, "err", differ)
		}
		return statuses
	}
}

// look gathers what the pass goes by.
func (a *Agent) look(s cluster.Tables, around Neighborhood, now time.Time) view {
	a.index = a.index.Of(s.Config)
	a.node = a.node.next(s.Nodes, a.opts.Node, now)
	v := view{cluster: s, around: around, node: a.node.last, opts: a.opts.Announce, now: now}
	a.drain, v.drain = a.drain.next(drainInput{
		drain: v.node.Drain, members: around.Membership, first: !a.passed, applied: a.opts.FRR.Applied(),
	}, now)
	v.opts.Index, v.opts.Gone, v.opts.Leaving = a.index, a.node.gone(now), around.Leaving
	v.opts.Members, v.opts.Drained, v.opts.Overdue = v.drain.members, v.drain.over, v.drain.overdue
	v.opts.Damped = a.flaps.Damped(now)
	if a.passed {
		v.opts.Announces, v.opts.Sends = a.memory.Announces, a.memory.Sends()
	} else if a.resumes != nil {
		found := a.resumes
		v.opts.Resumes = func(route netip.Prefix) string { return found[route] }
		if len(found) > 0 {
			v.again(now) // then it goes by what it does itself
		}
	}
	v.again(v.drain.look)
	v.again(a.node.until(now))
	return v
}

// decide decides what the node should announce.
func (a *Agent) decide(v *view) decision {
	var d decision
	var keptUntil, overdueAt time.Time
	d.bgp, keptUntil = a.decideBGP(v.cluster, v.node, v.opts, v.now)
	v.opts.Kept = a.kept.names()
	a.drain, overdueAt = a.drain.decided(d.bgp.Frame.Unseen, v.now)
	if a.opts.Layer2 != nil {
		d.layer2 = a.answers.Next(v.cluster, a.opts.Node, v.around.Membership, v.opts)
	}
	v.again(keptUntil)
	v.again(overdueAt)
	return d
}

// damp takes note of what the node withdraws as its endpoints are gone, and warns about
// what is damped from now on.
func (a *Agent) damp(v *view, decisions announce.Decisions) {
	var news []status.Decision
	var again time.Time
	a.flaps, news, again = a.flaps.Next(a.decisions, decisions, v.now)
	v.again(again)
	if a.opts.Events != nil {
		a.warnFlapping(v.cluster, news, v.now)
	}
}

// handOver hands what follows to layer 2, to other agents and to FRR. It returns why FRR
// was given nothing; empty: it was.
func (a *Agent) handOver(v *view, d decision, out handover.OutcomeTables) string {
	v.again(out.Next)
	a.answer(v.around, out.Answers)
	a.confer(v.around, d.bgp.Frame, out, v.now)
	if id := d.bgp.Frame.MadeID; id.IsValid() && id != a.loggedRouterID {
		a.opts.Logger.Info("router ID made from the node's name, as the node has no IPv4 address", "id", id)
	}
	a.loggedRouterID = d.bgp.Frame.MadeID
	failure := a.apply(out.BGP, out.Networks)
	a.drain = a.drain.handedOver(failure == "" && !v.node.Drain.IsZero())
	return failure
}

// answer hands over what to answer for, if that has changed, or an agent that stops waits for
// the end of it.
func (a *Agent) answer(around Neighborhood, answers handover.Answers) {
	if a.opts.Layer2 == nil || a.passed && !around.Leaving && !differ(a.answered, answers, table.Same) {
		return
	}
	a.answered = answers
	a.opts.Layer2.Set(answers)
}

// differ reports whether two tables differ.
func differ[K table.Key[K], V any](a, b table.Table[K, V], same func(a, b V) bool) bool {
	for range table.Diff(a, b, same) {
		return true
	}
	return false
}

// wakeAt asks for the next pass at a time; zero: not before something changes.
func (a *Agent) wakeAt(at, now time.Time) {
	if at.IsZero() {
		a.wakeup.Stop()
	} else {
		a.wakeup.Reset(at.Sub(now))
	}
}
