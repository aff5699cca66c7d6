// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"math"
	"time"

	"github.com/heraldlb/herald/announce"
)

const (
	// early is the time between two probes of an address that has never answered, until it
	// counts as failing, and soon how often a failing one is probed in that time.
	early = 200 * time.Millisecond

	// chance is how likely it may be that connections were all led to other nodes, for
	// their failure to count.
	chance = 1e-3
)

// A state is whether an address answers.
type state int

const (
	unknown state = iota // it has not answered, and not failed often enough
	passing
	failing
)

// A record is what is known of a target. It is a value.
type record struct {
	target announce.Target
	old    bool      // the target was there before the first probe: it may be announced already
	since  time.Time // when it became known
	due    time.Time // when to probe next

	state  state
	streak int     // results in a row against the state
	doubt  float64 // how likely it is that all connections since the last answer were led to other nodes
	why    string  // the last failure
}

// newRecord returns the record of a new target.
func newRecord(t announce.Target, old bool, now time.Time) record {
	return record{target: t, old: old, since: now, due: now, doubt: 1}
}

// waits reports whether the address is new, and has no answer yet. That lasts one timeout at
// most.
func (r record) waits(now time.Time) bool {
	return r.state == unknown && !r.old && now.Before(r.waitsUntil())
}

func (r record) waitsUntil() time.Time { return r.since.Add(r.target.Probe.Timeout) }

// A result is what a probe has found.
type result struct {
	ok     bool
	tries  int    // connections in vain that may have been led to other nodes; 0: what failed was this node
	why    string // it is not ok
	nobody bool   // the probe was interrupted: it says nothing
}

// next takes in a result. A failure counts once it is unlikely that the connections were led
// to other nodes, whose endpoints say nothing about this one.
func (r record) next(a result, now time.Time) record {
	p := r.target.Probe
	if a.ok {
		r.doubt = 1
	} else {
		r.why = a.why
		if a.tries > 0 {
			r.doubt *= math.Pow(1-r.target.Share, float64(a.tries))
		} else {
			r.doubt = 0
		}
	}
	bad := !a.ok && r.doubt <= chance
	switch r.state {
	case unknown, passing:
		switch {
		case a.ok:
			r.state, r.streak, r.why = passing, 0, ""
		case bad:
			if r.streak++; r.streak >= p.Failure {
				r.state, r.streak = failing, 0
			}
		}
	case failing:
		switch {
		case a.ok:
			if r.streak++; r.streak >= p.Success {
				r.state, r.streak, r.why = passing, 0, ""
			}
		case bad:
			r.streak = 0
		}
	}
	r.due = r.due.Add(p.Interval)
	if r.state == unknown {
		r.due = now.Add(min(p.Interval, early))
	}
	if r.due.Before(now) { // probes are late: the next has its full time
		r.due = now.Add(p.Interval)
	}
	return r
}

// spread moves the next probe of a record to a point of its interval, from 0 to 1, once it
// is known: thousands become known at the same time.
func (r record) spread(point float64, now time.Time) record {
	r.due = now.Add(time.Duration(point * float64(r.target.Probe.Interval)))
	return r
}
