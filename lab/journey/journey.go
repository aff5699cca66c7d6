// SPDX-License-Identifier: Apache-2.0

package journey

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/trace"
)

// Seen is what was seen of a change from outside. A time may be zero: it was not seen.
type Seen struct {
	Service  string // namespace/name
	Route    netip.Prefix
	Sent     time.Time // the request that changes the Service
	Answered time.Time // by the API server
	Status   time.Time // a watch has shown the address
	Wire     time.Time // an UPDATE with the route has reached the router
	Kernel   time.Time // the router's kernel has the route, or lacks it
	All      time.Time // via every node
	Reported time.Time // the condition Announced of the Service is True
}

// A Step is one moment of the way.
type Step struct {
	Name string
	At   time.Duration // since the request was sent
}

// The steps, in the order in which they usually come.
const (
	Answered       = "API server answered the request"
	ControllerRead = "controller: watch event"
	ControllerPass = "controller: pass begins"
	PatchSent      = "controller: status sent"
	PatchAnswered  = "controller: status answered"
	StatusSeen     = "address seen by a watch"
	AgentRead      = "agent: watch event"
	AgentPass      = "agent: pass begins"
	Serves         = "agent: data plane serves the address"
	Rendered       = "agent: configuration rendered"
	CommandsSent   = "agent: lines sent to bgpd"
	QueueStarted   = "agent: bgpd's queue started"
	CommandsDone   = "agent: bgpd answered"
	Wire           = "UPDATE on the router's link"
	Kernel         = "route in the router's kernel"
	All            = "via every node"
	Confirmed      = "agent: seen in Adj-RIB-Out"
	Reported       = "condition Announced is True"
	Gone           = "route gone from the router's kernel"
)

// Created returns the steps of a Service that was created, in order of time.
func Created(s Seen, lines []Line) []Step {
	w := way{since: s.Sent}
	w.add(Answered, s.Answered)
	if patch, ok := first(lines, s.Sent, func(l Line) bool {
		return l.Message == trace.Written && l.Service == s.Service && l.Err == nil
	}); ok {
		own := of(lines, patch.Daemon)
		w.line(ControllerRead, own, s.Sent, func(l Line) bool {
			return l.Message == trace.Read && l.Service == s.Service && l.Ingress == 0 && !l.Gone
		})
		w.pass(ControllerPass, own, patch.Began())
		w.add(PatchSent, patch.Began())
		w.add(PatchAnswered, patch.At)
	}
	w.add(StatusSeen, s.Status)
	if c, ok := w.commands(lines, "network "+s.Route.String()+" "); ok {
		own := of(lines, c.Daemon)
		w.line(AgentRead, own, s.Sent, func(l Line) bool { return l.Message == trace.Read && l.Service == s.Service && l.Ingress > 0 })
		w.line(QueueStarted, own, s.Sent, func(l Line) bool { return l.Message == trace.Hurried })
		w.line(Serves, own, s.Sent, func(l Line) bool { return l.Message == trace.Serves && l.Service == s.Service })
		w.decided(own, c)
		w.line(Confirmed, own, s.Sent, func(l Line) bool { return l.Message == trace.Sent && l.Route == s.Route.String() })
	}
	w.add(Wire, s.Wire)
	w.add(Kernel, s.Kernel)
	w.add(All, s.All)
	w.add(Reported, s.Reported)
	return w.sorted()
}

// Deleted returns the steps of a Service that was deleted, in order of time.
func Deleted(s Seen, lines []Line) []Step {
	w := way{since: s.Sent}
	w.add(Answered, s.Answered)
	if c, ok := w.commands(lines, "no network"); ok {
		own := of(lines, c.Daemon)
		w.line(AgentRead, own, s.Sent, func(l Line) bool { return l.Message == trace.Read && l.Service == s.Service && l.Gone })
		w.decided(own, c)
	}
	w.add(Wire, s.Wire)
	w.add(Gone, s.Kernel)
	return w.sorted()
}

// A way collects steps.
type way struct {
	since time.Time
	steps []Step
}

// add adds a step; the zero time has none.
func (w *way) add(name string, at time.Time) {
	if !at.IsZero() {
		w.steps = append(w.steps, Step{name, at.Sub(w.since)})
	}
}

// line adds a step at the first line that matches.
func (w *way) line(name string, lines []Line, since time.Time, match func(Line) bool) {
	if l, ok := first(lines, since, match); ok {
		w.add(name, l.At)
	}
}

// pass adds the beginning of the last pass that began before a time: what was handed over
// then is its.
func (w *way) pass(name string, lines []Line, before time.Time) {
	if l, ok := last(lines, w.since, before, func(l Line) bool { return l.Message == trace.Pass }); ok {
		w.add(name, l.Began())
	}
}

// commands returns the first answer of bgpd to a command with a text, from any agent.
func (w *way) commands(lines []Line, text string) (Line, bool) {
	return first(lines, w.since, func(l Line) bool {
		return l.Message == trace.Commands && (strings.Contains(l.First+" ", text) || strings.Contains(l.Last+" ", text))
	})
}

// decided adds the steps that led to commands.
func (w *way) decided(lines []Line, c Line) {
	w.pass(AgentPass, lines, c.Began())
	if l, ok := last(lines, w.since, c.Began(), func(l Line) bool { return l.Message == trace.Rendered }); ok {
		w.add(Rendered, l.At)
	}
	w.add(CommandsSent, c.Began())
	w.add(CommandsDone, c.At)
}

func (w *way) sorted() []Step {
	slices.SortStableFunc(w.steps, func(a, b Step) int { return int(a.At - b.At) })
	return w.steps
}

// of returns the lines of a daemon.
func of(lines []Line, daemon string) (out []Line) {
	for _, l := range lines {
		if l.Daemon == daemon {
			out = append(out, l)
		}
	}
	return out
}

// first returns the earliest line since a time that matches.
func first(lines []Line, since time.Time, match func(Line) bool) (found Line, ok bool) {
	for _, l := range lines {
		if !l.At.Before(since) && match(l) && (!ok || l.At.Before(found.At)) {
			found, ok = l, true
		}
	}
	return found, ok
}

// last returns the line that matches and began last, after a time and not after another.
func last(lines []Line, since, until time.Time, match func(Line) bool) (found Line, ok bool) {
	for _, l := range lines {
		if began := l.Began(); match(l) && !began.Before(since) && !began.After(until) && (!ok || began.After(found.Began())) {
			found, ok = l, true
		}
	}
	return found, ok
}
