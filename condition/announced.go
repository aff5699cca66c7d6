// SPDX-License-Identifier: Apache-2.0

// Package condition judges a Service's condition heraldlb.io/Announced: whether some
// node announces the Service, and if none does, why. It completes the Plans of package
// assign.
package condition

import (
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/excerpt"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
	"github.com/heraldlb/herald/wake"
)

// TypeAnnounced is the type of the condition.
const TypeAnnounced = cluster.OwnPrefix + "Announced"

// ReasonNotAnnounced is the reason of a condition that is False without a known cause:
// the Service has an address, an advertisement and, as far as is known, an endpoint, and
// nodes may announce it. Its other reasons are status.Announced, status.NoAddress,
// status.NoAdvertisement, status.NoEndpoints, and those of unable.
const ReasonNotAnnounced status.Reason = "NotAnnounced"

const (
	// settle is how long the observations must be the same before the condition follows.
	// Several nodes notice a change at about the same time; that is one write.
	settle = 500 * time.Millisecond
	// doubt is how long the condition waits before it becomes False, and at most.
	doubt = 2 * time.Second
	// refine is how long what a True condition says of nodes must be the same before it is
	// written, and refineMost how long it waits at most. A busy API server is told by one
	// node after another.
	refine     = 2 * time.Second
	refineMost = 10 * time.Second
	// patience is how long a Service that no node announces, for no known reason, waits at most
	// while nodes report other Services: after a burst theirs come one after another.
	patience = 30 * time.Second
)

// unexplained is the message of ReasonNotAnnounced where nothing is known.
const unexplained = "no node announces it"

// Observed is what nodes were seen to announce. It is immutable.
type Observed struct {
	Reported   bool                             // nodes are able to report what they announce
	Announcers table.Table[cluster.Key, string] // by Service, the nodes that announce it, as text; none: no node does
	Reach      *Reach                           // nil: not known

	Sessions cluster.NodeSessions // nil: not known

	// Nowhere reports whether every node lacks an interface; nil: no node reports that.
	Nowhere func(iface string) bool
}

// A Reach is where the endpoints of Services are.
type Reach struct {
	Nodes     []*cluster.Node                              // in the order of their names
	Endpoints table.Table[cluster.Key, []cluster.Endpoint] // usable ones, by Service
}

// A Judge decides the condition, and remembers from pass to pass what is not written yet.
// It causes no write that can be part of another. It is not safe for concurrent use.
type Judge struct {
	IgnoreExclude bool // announce.LabelExcludeNode has no meaning

	stale map[cluster.Key]stale // Services whose condition is not as it should be
	limit eventLimit            // of the events about changes of the condition

	announcers table.Table[cluster.Key, string] // in the last pass
	heard      time.Time                        // when they last changed

	config *config.Config  // in force
	index  *announce.Index // of config; nil: there was none yet

	// Memory of one pass.
	down  map[string]string      // what sessionsDown returned, by advertisements
	lacks map[*announce.Ads]lack // what lackOf returned

	observant bool            // a verdict has followed from what all nodes have in common
	nowhere   map[string]bool // what Observed.Nowhere said since this was emptied
}

// A stale condition waits to be written.
type stale struct {
	since   time.Time         // first seen not to be as it should be
	want    cluster.Condition // what it should be; zero: none
	changed time.Time         // when want became so
	due     time.Time         // when it is to be written; zero: now
	held    time.Time         // not to be written before: nodes are reporting others; zero: they are not
	busy    bool              // they were when the first reported this one
	writing bool              // it is being written
	event   *cluster.Event    // that goes with the write; nil: none does
}

// Complete adds the condition to a Plan, for every Service of a class.
func (j *Judge) Complete(plan assign.Plan, s cluster.Snapshot, o Observed, class string, now time.Time) assign.Plan {
	if s.Config == nil {
		return plan
	}
	j.begin(s.Config, o, now)
	updates, rest := make([]assign.Update, 0, len(plan.Updates)), plan.Updates
	left := make(map[cluster.Key]stale)
	for _, svc := range s.Services {
		var u *assign.Update
		if len(rest) > 0 && rest[0].Service == svc {
			u, rest = &rest[0], rest[1:]
		}
		r := j.rule(svc, u, o, class, now)
		if r.update != nil {
			updates = append(updates, *r.update)
		}
		if r.waits {
			left[svc.Key] = r.stale
		}
		if r.event != nil {
			plan.Events = append(plan.Events, assign.ServiceEvent{Service: svc, Event: *r.event})
		}
		plan.Next = wake.Earlier(plan.Next, r.due)
	}
	plan.Updates, j.stale = updates, left
	return plan
}

// A ruling is the decision about a Service.
type ruling struct {
	update *assign.Update // nil: none
	waits  bool           // the condition is not as it should be, but:
	stale  stale
	event  *cluster.Event // that goes with no update; nil: none
	due    time.Time      // when time alone changes the decision; zero: never
}

// rule decides about a Service, given the update that there is without the condition; nil:
// none.
func (j *Judge) rule(svc *cluster.Service, u *assign.Update, o Observed, class string, now time.Time) ruling {
	out := ruling{update: u}
	if !svc.LoadBalancer || svc.Class != class {
		return out
	}
	next := afterUpdate(svc, u)
	if next.Condition == nil {
		return out // it is not Herald's, or not any more
	}
	have, want := svc.Condition(TypeAnnounced), j.verdict(svc, next.Ingress, o)
	if next.Foreign {
		want = nil
	}
	if have == nil && want == nil || have != nil && want != nil && *have == *want {
		out.event, out.due = j.limit.late(svc.Key, have, now)
		return out
	}
	w := j.wait(svc.Key, want, now)
	w.due, out.waits = w.dueFor(have, want), true
	if !w.writing && w.due.Before(w.held) {
		w.due = w.held
	}
	if !now.Before(w.due) && j.mayFollow(w, have, now) {
		w.held = now.Add(doubt)
		w.due = w.held
	}
	if now.Before(w.due) {
		out.stale, out.due = w, w.due
		return out
	}
	if u != nil {
		next = *u
	}
	next.Announced, next.Unannounced = want, want == nil
	if !w.writing {
		w.writing, w.event = true, j.limit.take(svc.Key, have, want, now)
	}
	if w.event != nil {
		// A new array: that of package assign may have room, and is not this package's.
		next.Events = append(slices.Clip(next.Events), *w.event)
	}
	w.due = time.Time{}
	out.update, out.stale = &next, w
	return out
}

// Now returns the conditions that the Services of a class should have, as far as they are
// known, by their present addresses. It does not wait for observations to settle.
func (j *Judge) Now(s cluster.Snapshot, o Observed, class string) map[cluster.Key]cluster.Condition {
	out := make(map[cluster.Key]cluster.Condition, len(s.Services))
	if s.Config == nil {
		return out
	}
	j.begin(s.Config, o, time.Time{})
	for _, svc := range s.Services {
		if !svc.LoadBalancer || svc.Class != class {
			continue
		}
		if c := j.verdict(svc, cluster.ParseIngress(svc.Ingress), o); c != nil {
			out[svc.Key] = *c
		}
	}
	return out
}

// begin prepares a pass.
func (j *Judge) begin(c *config.Config, o Observed, now time.Time) {
	for range table.Diff(j.announcers, o.Announcers, table.Same) {
		j.heard = now
		break
	}
	j.announcers = o.Announcers
	j.config, j.index = c, j.index.Of(c)
	j.down, j.lacks = map[string]string{}, map[*announce.Ads]lack{}
	j.limit.sweep(now)
}

// afterUpdate returns the update that leaves a Service as it will be: as u makes it, or
// as it is if u is nil.
func afterUpdate(svc *cluster.Service, u *assign.Update) assign.Update {
	next := assign.Update{Service: svc}
	if u != nil {
		next.Condition, next.Ingress = u.Condition, u.Ingress
	} else {
		next.Condition = svc.Condition(assign.ConditionAddressAssigned)
		next.Ingress, next.Pool = cluster.ParseIngress(svc.Ingress), svc.Annotations[assign.AnnotationPool]
	}
	next.Foreign = next.Condition != nil && next.Condition.Reason == assign.ReasonForeign
	return next
}

// wait returns since when a Service waits for this condition.
func (j *Judge) wait(svc cluster.Key, want *cluster.Condition, now time.Time) stale {
	next := stale{since: now, changed: now}
	if want != nil {
		next.want = *want
	}
	old, ok := j.stale[svc]
	switch {
	case ok && old.want == next.want:
		return old
	case ok && !old.held.IsZero():
		next.busy = true
	case ok && !old.writing:
		next.since, next.busy = old.since, old.busy
	}
	return next
}

// dueFor returns when a condition is to be written: after the observations have not changed
// for a moment, or after a longer time at most. Which nodes announce a Service that some
// nodes announce is the least urgent. What follows from the configuration alone
// need not wait, unless the Service was announced.
func (w stale) dueFor(have, want *cluster.Condition) time.Time {
	late := w.since.Add(doubt)
	switch {
	case want == nil:
		return late
	case want.True && have != nil && have.True:
		return wake.Earlier(w.changed.Add(refine), w.since.Add(refineMost))
	case want.True:
		if soon := w.changed.Add(settle); soon.Before(late) && !w.busy {
			return soon
		}
		return late
	case want.Reason != status.NoAddress && want.Reason != status.NoAdvertisement || have != nil && have.True:
		return late
	}
	return w.since
}

// mayFollow reports whether nodes may be about to report a Service that was not announced:
// they have just reported others.
func (j *Judge) mayFollow(w stale, have *cluster.Condition, now time.Time) bool {
	return w.want.Reason == ReasonNotAnnounced && w.want.Message == unexplained && !w.writing && (have == nil || !have.True) &&
		now.Sub(j.heard) < doubt && now.Sub(w.since) < patience
}

// verdict returns the condition that a Service with these addresses should have; nil if
// that is not known.
func (j *Judge) verdict(svc *cluster.Service, addrs []netip.Addr, o Observed) *cluster.Condition {
	not := func(reason status.Reason, message string) *cluster.Condition {
		return &cluster.Condition{Type: TypeAnnounced, Reason: reason, Message: excerpt.Message(message)}
	}
	if len(addrs) == 0 {
		return not(status.NoAddress, "the Service has no address")
	}
	if words, _ := o.Announcers.Get(svc.Key); words != "" {
		return &cluster.Condition{Type: TypeAnnounced, True: true, Reason: status.Announced, Message: excerpt.Message(words)}
	}
	if why := j.unadvertised(svc, addrs); why != "" {
		return not(status.NoAdvertisement, why)
	}
	j.observant = true
	if !o.Reported {
		return nil
	}
	if reason, why := j.unable(svc, addrs, o); reason != "" {
		return not(reason, why)
	}
	if why := j.unreachable(svc, addrs, o.Reach); why != "" {
		return not(status.NoEndpoints, why)
	}
	if why := j.tooFew(svc, addrs, o.Reach); why != "" {
		return not(status.TooFewEndpoints, why)
	}
	if why := j.unconnected(svc, addrs, o); why != "" {
		return not(ReasonNotAnnounced, why)
	}
	return not(ReasonNotAnnounced, unexplained)
}
