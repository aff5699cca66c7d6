// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
	"github.com/heraldlb/herald/wake"
)

// Reasons of an agent's events about Services, as MetalLB spells
// them.
const (
	EventAnnouncing  = "nodeAssigned"
	EventGossipLost  = "GossipLost"
	EventNoInterface = "announceFailed" // warning: no node has an interface that the advertisements ask for

	EventProbe         = string(status.ProbeFailed)       // warning: the probe of an address fails on the node
	EventDataPlane     = string(status.DataPlaneNotReady) // warning: the node announces the Service though its data plane was not seen to serve it
	EventEndpointsFlap = string(status.EndpointsFlap)     // warning: the node waits before it announces the Service again
)

// EventDrainInvalid is the reason of an agent's event about its Node, a warning:
// AnnotationDrain has a value that means nothing.
const EventDrainInvalid = "DrainNotUnderstood"

// Reasons of an agent's events about its Node: announce.LabelExcludeNode is on it, or is gone.
const (
	EventExcluded = string(status.NodeExcluded) // warning
	EventIncluded = "NodeIncluded"
)

// announcingSettle is how long a node must have been seen to announce a Service before
// there is an event. The condition Announced follows in that time too, so that no event
// contradicts it.
const announcingSettle = time.Second

// unreported has the announcements without an event yet, and since when each was seen to
// be in force; zero: it was not.
type unreported map[announcement]time.Time

// An announcement is a Service over a protocol.
type announcement struct {
	service  string
	protocol status.Protocol
}

// compare orders announcements by Service and protocol.
func (x announcement) compare(y announcement) int {
	return cmp.Or(cluster.ParseKey(x.service).Compare(cluster.ParseKey(y.service)), cmp.Compare(x.protocol, y.protocol))
}

func (u unreported) has(id announcement) bool {
	_, ok := u[id]
	return ok
}

// next takes in what the node announces. It returns the announcements that need an event
// now, and when to look again; zero: once something changes.
func (u unreported) next(now announce.Decisions, confirmed func(status.Decision) bool, at time.Time) (news []announcement, due time.Time) {
	if len(u) == 0 {
		return nil, time.Time{}
	}
	for id, since := range u {
		wanted, inForce := false, false
		of, _ := now.Get(cluster.ParseKey(id.service))
		for _, d := range of {
			if d.Announce && d.Protocol == id.protocol {
				wanted, inForce = true, inForce || confirmed(d)
			}
		}
		switch {
		case !wanted:
			delete(u, id)
			continue
		case !inForce:
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
	slices.SortFunc(news, announcement.compare)
	return news, due
}

// sendEvents sends an event about each Service that is newly seen to be announced, unless the
// controller sends one for all nodes that announce its routes, and
// about each whose address another host has, once until that is settled. It returns when to look again.
func (a *Agent) sendEvents(s cluster.Tables, now announce.Decisions, around Neighborhood, at time.Time) time.Time {
	a.expectEvents(now)
	a.sendWarnings(s, now, around)
	told, due := a.unreported.next(now, func(d status.Decision) bool { return a.inForce(d, around) }, at)
	for _, id := range told {
		if id.protocol == status.BGP && a.opts.Statuses != nil && a.opts.Statuses.Published(status.BGP) {
			continue // the controller's event names all nodes
		}
		a.sendEvent(s, id.service, cluster.Event{Reason: EventAnnouncing,
			Message: fmt.Sprintf("announcing from node %q with protocol %q", a.opts.Node, id.protocol)})
	}
	return due
}

// sendEvent sends an event about a Service.
func (a *Agent) sendEvent(s cluster.Tables, service string, e cluster.Event) {
	if svc, ok := s.Services.Get(cluster.ParseKey(service)); ok {
		a.opts.Events(svc, e)
	}
}

// expectEvents takes note of the Services that are newly announced.
func (a *Agent) expectEvents(now announce.Decisions) {
	for c := range table.Diff(a.decisions, now, announce.SameList) {
		if c.After == nil {
			continue
		}
		for _, d := range *c.After {
			was := c.Before != nil && slices.ContainsFunc(*c.Before, func(o status.Decision) bool { return o.Announce && announce.CompareDecisions(o, d) == 0 })
			if !d.Announce || was {
				continue
			}
			if a.unreported == nil {
				a.unreported = unreported{}
			}
			if id := (announcement{d.Service, d.Protocol}); !a.unreported.has(id) {
				a.unreported[id] = time.Time{}
			}
		}
	}
}

// sendWarnings sends an event about each Service whose address another host has.
func (a *Agent) sendWarnings(s cluster.Tables, now announce.Decisions, around Neighborhood) {
	if len(around.Claims)+len(around.Conflicts) == 0 {
		a.disputes, a.contender = nil, nil
		return
	}
	news := func(service string, e cluster.Event) { a.sendEvent(s, service, e) }
	disputes := map[dispute]bool{}
	for _, d := range announce.ListDecisions(now) {
		if c := around.Claims[d.Addr]; d.Protocol == status.Layer2 && len(c) > 0 && a.contender[d.Addr] == "" {
			news(d.Service, cluster.Event{Warning: true, Reason: EventGossipLost,
				Message: fmt.Sprintf("%s: node %s answers for the address, but gossip does not reach its agent; open port 7946 (UDP and TCP) between the nodes", d.Addr, c[0].Node)})
		}
		if c, ok := around.Conflicts[d.Addr]; ok && c.loud() && d.Detail == c.String() {
			id := dispute{d.Service, d.Addr, c.Node, c.Refused}
			if disputes[id] = true; !a.disputes[id] {
				news(d.Service, cluster.Event{Warning: true, Reason: assign.EventConflict, Message: fmt.Sprintf("%s: %s", d.Addr, c)})
			}
		}
	}
	a.disputes = disputes
	a.contender = map[netip.Addr]string{}
	for addr, c := range around.Claims {
		a.contender[addr] = c[0].Node
	}
}

// inForce reports whether the effect of a decision was seen: a router was sent the
// routes, or the node answers for the address.
func (a *Agent) inForce(d status.Decision, around Neighborhood) bool {
	if d.Protocol == status.Layer2 {
		_, answered := around.Answered.Get(d.Addr)
		return answered
	}
	return len(d.Routes) > 0 && a.sent(d.Routes)
}

// warnNoInterface sends an event about each Service with an address that newly no node
// can answer for on the interfaces of the advertisements.
func (a *Agent) warnNoInterface(s cluster.Tables, now announce.Layer2Tables) {
	lacks := map[netip.Addr]bool{}
	for c := range table.Diff(a.elections, now.Elections, table.Same) {
		if c.After != nil && (*c.After).NoInterface && (c.Before == nil || !(*c.Before).NoInterface) {
			lacks[c.Key] = true
		}
	}
	if len(lacks) == 0 {
		return
	}
	for _, d := range announce.ListDecisions(now.Decisions) {
		if d.Reason == status.NoInterface && lacks[d.Addr] {
			a.sendEvent(s, d.Service, cluster.Event{Warning: true, Reason: EventNoInterface, Message: fmt.Sprintf(
				"%s: no interface of the advertisements exists on node %q, assigned with protocol %q", d.Addr, a.opts.Node, d.Protocol)})
		}
	}
}

// warnFlapping sends an event about each Service whose announcement is damped from now on.
func (a *Agent) warnFlapping(s cluster.Tables, damped []status.Decision, now time.Time) {
	for _, d := range damped {
		when := fmt.Sprintf("in %s at the earliest", a.flaps.Wait(d, now).Round(time.Second))
		if d.Protocol == status.Layer2 {
			when += ", or when no other node answers for it"
		}
		a.sendEvent(s, d.Service, cluster.Event{Warning: true, Reason: EventEndpointsFlap, Message: fmt.Sprintf(
			"%s: endpoints come and go; node %q announces the address with protocol %q %s", d.Addr, a.opts.Node, d.Protocol, when)})
	}
}

// warnWaived warns once about each address that is announced though the data plane was not
// seen to serve it in time, but for those that the first pass announces.
func (a *Agent) warnWaived(s cluster.Tables, now announce.Decisions, r announce.Readiness) {
	if r.SameWaived(a.readiness) && !a.concerned(now) {
		return
	}
	next := map[announce.ServiceAddr]bool{}
	var news []announce.ServiceAddr
	for id := range r.Waived {
		of, _ := now.Get(cluster.ParseKey(id.Service))
		if !slices.ContainsFunc(of, func(d status.Decision) bool { return d.Announce && d.Addr == id.Addr }) {
			continue
		}
		if next[id] = true; !a.waived[id] && a.passed && a.opts.Events != nil {
			news = append(news, id)
		}
	}
	slices.SortFunc(news, announce.ServiceAddr.Compare)
	for _, id := range news {
		a.sendEvent(s, id.Service, cluster.Event{Warning: true, Reason: EventDataPlane, Message: fmt.Sprintf(
			"%s: node %q announces the address, though its data plane was not seen to serve it: %s", id.Addr, a.opts.Node, r.Waived[id])})
	}
	a.waived = next
}

// concerned reports whether another decision was made about a Service with an address that
// was waived.
func (a *Agent) concerned(now announce.Decisions) bool {
	for c := range table.Diff(a.decisions, now, announce.SameList) {
		for _, of := range []*[]status.Decision{c.Before, c.After} {
			if of == nil {
				continue
			}
			for _, d := range *of {
				if _, is := a.readiness.Waived[announce.ServiceAddr{Service: d.Service, Addr: d.Addr}]; is {
					return true
				}
			}
		}
	}
	return false
}

// warnProbes warns about the probes that fail now and did not before, in the order of their
// addresses.
func (a *Agent) warnProbes(s cluster.Tables, before, now map[announce.ProbeID]string) {
	var news []announce.ProbeID
	for id := range now {
		if _, failed := before[id]; !failed {
			news = append(news, id)
		}
	}
	slices.SortFunc(news, func(x, y announce.ProbeID) int {
		return cmp.Or(x.Fault().Compare(y.Fault()), cmp.Compare(x.Service, y.Service))
	})
	for _, id := range news {
		a.sendEvent(s, id.Service, cluster.Event{Warning: true, Reason: EventProbe, Message: fmt.Sprintf(
			"%s: the probe fails on node %q: %s", id.Addr, a.opts.Node, now[id])})
	}
}

// warnDrain warns once that the Node's drain annotation is not understood.
func (a *Agent) warnDrain(n cluster.Node) {
	if n.DrainError == a.loggedDrainError {
		return
	}
	a.loggedDrainError = n.DrainError
	if n.DrainError == "" {
		return
	}
	a.opts.Logger.Warn("node does not drain", "node", n.Name, "err", n.DrainError)
	if a.opts.NodeEvents != nil {
		a.opts.NodeEvents(cluster.Event{Warning: true, Reason: EventDrainInvalid,
			Message: fmt.Sprintf("annotation %s: the node does not drain: %s", cluster.AnnotationDrain, n.DrainError)})
	}
}

// warnUnknown warns once about annotations of the Node that have no meaning.
func (a *Agent) warnUnknown(n cluster.Node) {
	if n.Unknown == a.loggedUnknown {
		return
	}
	if a.loggedUnknown = n.Unknown; n.Unknown == "" {
		return
	}
	a.opts.Logger.Warn("annotation without a meaning", "node", n.Name, "reason", n.Unknown)
	if a.opts.NodeEvents != nil {
		a.opts.NodeEvents(cluster.Event{Warning: true, Reason: assign.EventUnknown, Message: n.Unknown})
	}
}

// warnExcluded warns once that a label of the Node has it announce nothing, and reports when
// it is gone. A Node that the cluster does not have says neither.
func (a *Agent) warnExcluded(n cluster.Node) {
	_, excluded := n.Labels[announce.LabelExcludeNode]
	excluded = excluded && !a.opts.Announce.IgnoreExcludeLB
	if n.Name == "" || excluded == a.loggedExcluded {
		return
	}
	a.loggedExcluded = excluded
	e := cluster.Event{Reason: EventIncluded, Message: fmt.Sprintf("the label %s is gone: the node may announce Services", announce.LabelExcludeNode)}
	if excluded {
		e = cluster.Event{Warning: true, Reason: EventExcluded, Message: fmt.Sprintf("the label %s is on the node: it announces no Service", announce.LabelExcludeNode)}
	}
	a.opts.Logger.Info("node excluded from load balancers", "node", n.Name, "excluded", excluded)
	if a.opts.NodeEvents != nil {
		a.opts.NodeEvents(e)
	}
}
