// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/wake"
)

// Reasons of an agent's events about Services, as MetalLB spells
// them.
const (
	EventAnnouncing = "nodeAssigned"
	EventUnheard    = "announceFailed" // warning: no node has an interface that the advertisements ask for
)

// EventDrainInvalid is the reason of an agent's event about its Node, a warning:
// AnnotationDrain has a value that means nothing.
const EventDrainInvalid = "DrainNotUnderstood"

// announcingSettle is how long a node must have been seen to announce a Service
// before that is told. ConditionAnnounced says so then too: what is over sooner
// would leave the event alone.
const announcingSettle = time.Second

// untold has what a node announces and has not told of: since when it was seen to be
// in force, zero if it was not.
type untold map[announcement]time.Time

// An announcement is a Service over a protocol.
type announcement struct {
	service  string
	protocol status.Protocol
}

func (u untold) has(id announcement) bool {
	_, ok := u[id]
	return ok
}

// next takes in what a node announces, and returns what is to be told, and when to
// look again; the zero Time is once something changes.
func (u untold) next(now []status.Decision, confirmed func(status.Decision) bool, at time.Time) (news []announcement, due time.Time) {
	if len(u) == 0 {
		return nil, time.Time{}
	}
	seen := map[announcement]bool{} // whether it is in force
	var order []announcement
	for _, d := range now {
		id := announcement{d.Service, d.Protocol}
		if !d.Announce || !u.has(id) {
			continue
		}
		if _, again := seen[id]; !again {
			order = append(order, id)
		}
		seen[id] = seen[id] || confirmed(d)
	}
	for id := range u {
		if _, wanted := seen[id]; !wanted {
			delete(u, id)
		}
	}
	for _, id := range order {
		since := u[id]
		switch {
		case !seen[id]:
			u[id] = time.Time{}
			continue
		case since.IsZero():
			u[id], since = at, at
		}
		if ready := since.Add(announcingSettle); at.Before(ready) {
			due = wake.Earlier(due, ready)
			continue
		}
		delete(u, id)
		news = append(news, id)
	}
	return news, due
}

// tell sends an event for each Service that was not announced once and is seen to
// be, and for each whose address is another host's. It returns when to look again.
func (a *Agent) tell(s cluster.Snapshot, now []status.Decision, around Neighborhood, at time.Time) time.Time {
	news := func(service string, e cluster.Event) {
		if svc := cluster.FindService(s.Services, service); svc != nil {
			a.opts.Events(svc, e)
		}
	}
	before := a.decisions
	for _, d := range now {
		for len(before) > 0 && announce.CompareDecisions(before[0], d) < 0 {
			before = before[1:]
		}
		was := status.Decision{}
		if len(before) > 0 && announce.CompareDecisions(before[0], d) == 0 {
			was = before[0]
		}
		if d.Announce && !was.Announce {
			if a.untold == nil {
				a.untold = untold{}
			}
			if id := (announcement{d.Service, d.Protocol}); !a.untold.has(id) {
				a.untold[id] = time.Time{}
			}
		}
		if c, ok := around.Conflicts[d.Addr]; ok && c.loud() && d.Detail == c.String() && was.Detail != d.Detail {
			news(d.Service, cluster.Event{Warning: true, Reason: assign.EventConflict, Message: fmt.Sprintf("%s: %s", d.Addr, c)})
		}
	}
	told, due := a.untold.next(now, func(d status.Decision) bool { return a.inForce(d, around) }, at)
	for _, id := range told {
		news(id.service, cluster.Event{Reason: EventAnnouncing,
			Message: fmt.Sprintf("announcing from node %q with protocol %q", a.opts.Node, id.protocol)})
	}
	return due
}

// inForce reports whether what a decision wants was seen: a router was sent the
// routes, or the address is answered for.
func (a *Agent) inForce(d status.Decision, around Neighborhood) bool {
	if d.Protocol == status.Layer2 {
		_, answered := slices.BinarySearchFunc(around.Answered, d.Addr, netip.Addr.Compare)
		return answered
	}
	return len(d.Routes) > 0 && a.sent(d.Routes)
}

// tellUnheard sends an event for each Service with an address that nobody can
// answer for on the interfaces that are asked for, and that was not so in the last
// pass.
func (a *Agent) tellUnheard(s cluster.Snapshot, now announce.DesiredLayer2) {
	for _, d := range now.Decisions {
		if d.Reason != status.NoInterface || !slices.Contains(now.Unheard, d.Addr) || slices.Contains(a.unheard, d.Addr) {
			continue
		}
		if svc := cluster.FindService(s.Services, d.Service); svc != nil {
			a.opts.Events(svc, cluster.Event{Warning: true, Reason: EventUnheard, Message: fmt.Sprintf(
				"%s: no interface of the advertisements exists on node %q, assigned with protocol %q", d.Addr, a.opts.Node, d.Protocol)})
		}
	}
}
