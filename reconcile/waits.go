// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"slices"
	"time"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// Took receives how long a span took that has just ended. It must not block.
type Took func(span status.Span, subject string, took time.Duration)

// serviceWaits measure how long Services wait for addresses and for announcements, in one
// term of leading. What was so when the term began is not measured. The zero value is ready.
type serviceWaits struct {
	begun bool // there was a pass
	last  waitInput
	waits map[cluster.Key]wait // of Services that lack something
}

// A waitInput is what the waits of Services follow from. Its tables are read-only.
type waitInput struct {
	services table.Table[cluster.Key, *cluster.Service]
	updates  table.Table[cluster.Key, *assign.Update]
	observed condition.Observed
	class    string
}

// A wait is what a Service waits for, and since when.
type wait struct {
	span  status.Span
	since time.Time // zero: it does not wait for Herald at the moment, but for an endpoint, for example
}

// next takes in a pass.
func (m *serviceWaits) next(in waitInput, now time.Time, took Took) {
	if m.waits == nil {
		m.waits = map[cluster.Key]wait{}
	}
	if m.begun {
		for key := range m.changed(in) {
			m.look(key, in, now, took)
		}
	}
	m.begun, m.last = true, in
}

// changed returns the Services about which something has changed.
func (m *serviceWaits) changed(in waitInput) map[cluster.Key]bool {
	keys := map[cluster.Key]bool{}
	for c := range table.Diff(m.last.services, in.services, table.Same) {
		keys[c.Key] = true
	}
	for c := range table.Diff(m.last.updates, in.updates, table.Same) {
		keys[c.Key] = true
	}
	for c := range table.Diff(m.last.observed.Announcers, in.observed.Announcers, table.Same) {
		keys[c.Key] = true
	}
	for c := range table.Diff(endpointsOf(m.last.observed), endpointsOf(in.observed), slices.Equal) {
		keys[c.Key] = true
	}
	return keys
}

func endpointsOf(o condition.Observed) (none table.Table[cluster.Key, []cluster.Endpoint]) {
	if o.Reach == nil {
		return none
	}
	return o.Reach.Endpoints
}

// A waitState is what a Service has and lacks.
type waitState struct {
	asks      bool // it is one of Herald's
	addressed bool
	announced bool
	able      bool // nothing but Herald keeps it from what it lacks
}

// state returns what a Service has and lacks.
func (in waitInput) state(key cluster.Key) waitState {
	svc, ok := in.services.Get(key)
	if !ok || !svc.LoadBalancer || svc.Class != in.class {
		return waitState{}
	}
	u, _ := in.updates.Get(key)
	out := waitState{asks: true, addressed: len(svc.Ingress) > 0}
	if !out.addressed {
		out.able = unassigned(svc, u) == ""
		return out
	}
	out.asks = unassigned(svc, u) != assign.ReasonForeign
	words, _ := in.observed.Announcers.Get(key)
	out.announced = words != ""
	reason := unannounced(svc, u)
	out.able = reason == "" || reason == condition.ReasonNotAnnounced
	if in.observed.Reach != nil {
		of, _ := in.observed.Reach.Endpoints.Get(key)
		// The condition follows the endpoints a moment later.
		out.able = len(of) > 0 && (out.able || reason == status.NoEndpoints)
	}
	return out
}

// look takes in what has changed about a Service.
func (m *serviceWaits) look(key cluster.Key, in waitInput, now time.Time, took Took) {
	before, after, w := m.last.state(key), in.state(key), m.waits[key]
	done := func(span status.Span) {
		if w.span == span && !w.since.IsZero() {
			took(span, key.String(), now.Sub(w.since))
		}
	}
	switch {
	case !after.asks:
		w = wait{}
	case !after.addressed && !after.able:
		w = wait{} // a person has to do something first
	case !after.addressed && !before.asks:
		w = wait{status.SpanAssign, now}
	case !after.addressed && before.addressed:
		w = wait{}
	case !after.addressed:
	case after.announced:
		if before.asks && !before.addressed {
			done(status.SpanAssign)
			w = wait{status.SpanAnnounce, now}
		}
		done(status.SpanAnnounce)
		done(status.SpanInterruption)
		w = wait{}
	case before.asks && !before.addressed:
		done(status.SpanAssign)
		w = wait{span: status.SpanAnnounce}
	case before.announced:
		w = wait{span: status.SpanInterruption}
	}
	switch {
	case w.span != status.SpanAssign && !in.observed.Reported:
		w = wait{} // no node says what it announces
	case w.span == status.SpanInterruption && !after.able:
		w = wait{}
	case w.span == status.SpanAnnounce && !after.able:
		w.since = time.Time{}
	case w.span != "" && w.since.IsZero():
		w.since = now
	}
	if w.span == "" {
		delete(m.waits, key)
	} else {
		m.waits[key] = w
	}
}
