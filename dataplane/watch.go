// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"cmp"
	"time"

	"github.com/heraldlb/herald/announce"
)

const (
	// quick is the time between two questions about an address, and slow the same once it
	// has waited for patience. hung is the time after a question without an answer.
	quick    = 20 * time.Millisecond
	slow     = 100 * time.Millisecond
	patience = time.Second
	hung     = time.Second

	// limit is how long an address waits for the data plane.
	limit = 5 * time.Second
	// tryLimit is how long it waits to be connected to, once the data plane has counted the
	// Service's endpoints. kube-proxy writes its rules at most once a second, by default.
	tryLimit = 2 * time.Second
	// fresh is how long an address may be unknown to a data plane that follows the API
	// server.
	fresh = 5 * time.Second
	// enough is how many addresses are connected to in vain before it counts as impossible
	// on this node.
	enough = 3
)

// A phase is how far an address has come.
type phase int

const (
	absent phase = iota // there are no ready endpoints on the node: it need not wait
	asking              // for the node's endpoints, at the Service's health check node port
	trying              // to connect to the address
	ready
	waived // it has waited long enough
)

// A watch is what is known of an address of a Service. It is a value.
type watch struct {
	about announce.Question
	known time.Time // when the address became known; zero: before the first look
	since time.Time // since when it waits in its phase
	due   time.Time // when to ask next
	phase phase
	why   string // it waits, or is waived
}

// waits reports whether the address has to wait.
func (w watch) waits() bool { return w.phase == asking || w.phase == trying }

// compare orders watches by when they are due.
func (w watch) compare(o watch) int {
	return cmp.Or(w.due.Compare(o.due), w.about.Addr.Compare(o.about.Addr), cmp.Compare(w.about.Service, o.about.Service))
}

// want takes in what is wanted. known says that the address was there before.
func (w watch) want(q announce.Question, known bool, now time.Time) watch {
	if !known {
		w.known = now
	}
	had := w.about
	w.about = q
	switch {
	case !q.Here:
		w.phase, w.why = absent, ""
	case w.phase == trying && len(q.TCP) == 0:
		w.phase, w.why = ready, "" // there is no port any more that proves something
	case q.HealthPort == 0 && w.phase == absent && w.unsure(now):
		w.phase, w.since, w.due, w.why = trying, now, now, notServed
	case q.HealthPort == 0 && w.phase != trying:
		w.phase, w.why = ready, "" // nothing answers
	case w.phase == absent, had.HealthPort != q.HealthPort && w.phase != trying:
		w.phase, w.since, w.due, w.why = asking, now, now, "the data plane was not asked yet"
	}
	return w
}

// notServed is why a new address waits.
const notServed = "the data plane was not seen to serve the address yet"

// unsure reports whether the data plane may not know the address yet, and it can be tried.
func (w watch) unsure(now time.Time) bool {
	return !w.known.IsZero() && now.Sub(w.known) < fresh && len(w.about.TCP) > 0
}

// waive ends the wait.
func (w watch) waive(why string) watch {
	w.phase, w.why = waived, why
	return w
}

// learnt is what a node's data plane was seen to do, for other addresses.
type learnt struct {
	answers   bool // some health check node port has answered
	silent    bool // none has, though one was asked for as long as an address waits
	connected bool // some address could be connected to
	failed    int  // how many could not, before that
}

// next takes in an answer.
func (w watch) next(a answer, l learnt, now time.Time) (watch, learnt) {
	if a.yes {
		return w.confirmed(l, now)
	}
	w.why, w.due = a.why, now.Add(quick)
	switch {
	case a.hangs:
		w.due = now.Add(hung)
	case now.Sub(w.since) >= patience:
		w.due = now.Add(slow)
	}
	switch w.phase {
	case asking:
		l.answers = l.answers || !a.silent
		l.silent = l.silent && !l.answers
		switch {
		case a.silent && l.silent:
			return w.waive(a.why), l
		case now.Sub(w.since) >= limit:
			l.silent = a.silent && !l.answers
			return w.waive(a.why), l
		}
	case trying:
		switch {
		case !l.connected && l.failed >= enough:
			return w.waive(a.why), l
		case now.Sub(w.since) >= tryLimit:
			l.failed++
			return w.waive(a.why), l
		}
	}
	return w, l
}

// confirmed takes in that the data plane does what it was asked for.
func (w watch) confirmed(l learnt, now time.Time) (watch, learnt) {
	unsure := w.phase == asking && w.unsure(now)
	if w.phase == asking {
		l.answers, l.silent = true, false
	} else {
		l.connected = true
	}
	if unsure && (l.connected || l.failed < enough) {
		w.phase, w.since, w.due, w.why = trying, now, now, notServed
		return w, l
	}
	w.phase, w.why = ready, ""
	return w, l
}
