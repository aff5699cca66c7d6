// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Limits say how much Herald may take beyond what steps excuse. They are generous where
// the machine has other work.
type Limits struct {
	Scale    float64       // of the times that steps may cost
	Loss     time.Duration // how long requests may be lost in a row
	NoOwner  time.Duration // how long nobody may answer for an address
	Owners   time.Duration // how long two nodes may
	NoRoute  time.Duration // how long a router may have no route
	Settle   time.Duration // how long it takes until all is well after the last fault
	Memory   int64         // bytes of a process
	Files    int           // open files of a process
	Routines int           // goroutines of a process
	Pass     time.Duration // mean time of a pass between two quiet steps
}

// Strict are limits for a machine without other work, Generous for one that is busy.
var (
	Strict = Limits{
		Scale: 1, NoOwner: time.Second, Owners: time.Second, NoRoute: 500 * time.Millisecond,
		Settle: 45 * time.Second, Memory: 100 << 20, Files: 150, Routines: 400, Pass: 10 * time.Millisecond,
	}
	Generous = Limits{
		Scale: 4, Loss: 5 * time.Second, NoOwner: 8 * time.Second, Owners: 8 * time.Second, NoRoute: 5 * time.Second,
		Settle: 90 * time.Second, Memory: 150 << 20, Files: 200, Routines: 600, Pass: 500 * time.Millisecond,
	}
)

// A Violation is something that must not be, with what was seen.
type Violation struct {
	Invariant string    `json:"invariant"`
	Subject   string    `json:"subject"` // a Service, or a process
	Time      time.Time `json:"time"`
	Steps     []int     `json:"steps,omitempty"` // what was going on, or had just ended
	Evidence  string    `json:"evidence"`
}

// The invariants.
const (
	InvariantLoss    = "a request is answered"
	InvariantNoOwner = "some node answers for an address"
	InvariantOwners  = "one node answers for an address"
	InvariantRoute   = "a route stays"
	InvariantAddress = "a Service keeps its address"
	InvariantTwice   = "an address has one Service"
	InvariantSettled = "routers have what Herald says, and Herald says what is wanted"
	InvariantQuiet   = "a second look changes nothing"
	InvariantGrowth  = "a process stays small and fast"
	InvariantSecret  = "a secret is shown nowhere"
	InvariantProcess = "a process does not end by itself"
	InvariantStep    = "a step can be carried out"
)

// invariants are all of them.
var invariants = []string{
	InvariantLoss, InvariantNoOwner, InvariantOwners, InvariantRoute, InvariantAddress, InvariantTwice,
	InvariantSettled, InvariantQuiet, InvariantGrowth, InvariantSecret, InvariantProcess, InvariantStep,
}

// A Lost is a request that was not answered.
type Lost struct {
	Service string
	Time    time.Time // when it was sent
	Error   string
}

// An Answer is who answered for a Service's address on layer 2.
type Answer struct {
	Service string    `json:"service"`
	Time    time.Time `json:"time"`
	Owners  []string  `json:"owners"`
}

// changes returns the answers that are others than those before.
func changes(all []Answer) []Answer {
	var changed []Answer
	last := map[string][]string{}
	for _, a := range all {
		before, known := last[a.Service]
		if last[a.Service] = a.Owners; !known || !slices.Equal(before, a.Owners) {
			changed = append(changed, a)
		}
	}
	return changed
}

// A Reading is which addresses the Services had.
type Reading struct {
	Time      time.Time
	Addresses map[string][]netip.Addr
}

// A Route is a change of r1's route to a Service's address.
type Route struct {
	Service string
	Time    time.Time
	Present bool
}

// Observations are what was seen since the last quiet step, each kind in order.
type Observations struct {
	Lost     []Lost
	Answers  []Answer
	Readings []Reading
	Routes   []Route
	End      time.Time // when observing ended
	Stalls   []Span    // when this process did not run: nothing then is anybody's fault
}

// A Span is a time from one moment to another.
type Span struct{ From, To time.Time }

// Long returns how long the span is.
func (s Span) Long() time.Duration { return s.To.Sub(s.From) }

// merge adds a span to those before, which are in order.
func merge(all []Span, s Span) []Span {
	if n := len(all); n > 0 && !s.From.After(all[n-1].To) {
		all[n-1].To = s.To
		return all
	}
	return append(all, s)
}

// Check returns what observations show that no excuse covers.
func Check(o Observations, excuses []Excuse, limits Limits) []Violation {
	c := checker{excuses: excuses, stalls: o.Stalls, limits: limits}
	var all []Violation
	all = append(all, c.losses(o.Lost)...)
	all = append(all, c.owners(o.Answers, o.End)...)
	all = append(all, c.routes(o.Routes, o.End)...)
	all = append(all, c.addresses(o.Readings)...)
	return all
}

type checker struct {
	excuses []Excuse
	stalls  []Span
	limits  Limits
}

// uncovered returns the parts of a span that no excuse covers.
func (c checker) uncovered(s Span, effect Effect, service string) []Span {
	left := []Span{s}
	cut := func(by Span) {
		var next []Span
		for _, p := range left {
			if !by.From.Before(p.To) || !by.To.After(p.From) {
				next = append(next, p)
				continue
			}
			if by.From.After(p.From) {
				next = append(next, Span{p.From, by.From})
			}
			if by.To.Before(p.To) {
				next = append(next, Span{by.To, p.To})
			}
		}
		left = next
	}
	for _, e := range c.excuses {
		if e.covers(effect, service) {
			cut(Span{e.From, e.To})
		}
	}
	for _, stall := range c.stalls {
		cut(stall)
	}
	return left
}

// excused reports whether an effect is excused at a time.
func (c checker) excused(at time.Time, effect Effect, service string) bool {
	for _, e := range c.excuses {
		if e.covers(effect, service) && !at.Before(e.From) && !at.After(e.To) {
			return true
		}
	}
	return slices.ContainsFunc(c.stalls, func(s Span) bool { return !at.Before(s.From) && !at.After(s.To) })
}

// lossGap separates two losses that have to do with each other.
const lossGap = time.Second

// losses finds the requests that were lost without excuse, a row of them at a time.
func (c checker) losses(all []Lost) []Violation {
	rows := map[string][][]Lost{}
	for _, l := range all {
		if c.excused(l.Time, Loss, l.Service) {
			continue
		}
		r := rows[l.Service]
		if n := len(r); n > 0 && l.Time.Sub(r[n-1][len(r[n-1])-1].Time) < lossGap {
			r[n-1] = append(r[n-1], l)
		} else {
			r = append(r, []Lost{l})
		}
		rows[l.Service] = r
	}
	var found []Violation
	for _, service := range slices.Sorted(maps.Keys(rows)) {
		for _, row := range rows[service] {
			first, last := row[0], row[len(row)-1]
			if c.limits.Loss > 0 && last.Time.Sub(first.Time) <= c.limits.Loss {
				continue
			}
			found = append(found, Violation{
				Invariant: InvariantLoss, Subject: service, Time: first.Time,
				Evidence: fmt.Sprintf("%d requests lost from %s to %s: %s", len(row), clock(first.Time), clock(last.Time), first.Error),
			})
		}
	}
	return found
}

// owners finds addresses that nobody, or several nodes, answered for.
func (c checker) owners(all []Answer, end time.Time) []Violation {
	answers := by(all, func(a Answer) string { return a.Service })
	var found []Violation
	for _, service := range slices.Sorted(maps.Keys(answers)) {
		found = append(found, long(c, InvariantNoOwner, NoOwner, service, c.limits.NoOwner, spells(answers[service], end, answeredByNone),
			func(Answer) string { return "nobody answered" })...)
		found = append(found, long(c, InvariantOwners, Owners, service, c.limits.Owners, spells(answers[service], end, answeredByMany),
			func(a Answer) string { return strings.Join(a.Owners, " and ") + " answered" })...)
	}
	return found
}

func answeredByNone(a Answer) (time.Time, bool) { return a.Time, len(a.Owners) == 0 }

func answeredByMany(a Answer) (time.Time, bool) { return a.Time, len(a.Owners) > 1 }

// routes finds routes that went away.
func (c checker) routes(all []Route, end time.Time) []Violation {
	routes := by(all, func(r Route) string { return r.Service })
	var found []Violation
	for _, service := range slices.Sorted(maps.Keys(routes)) {
		found = append(found, long(c, InvariantRoute, NoRoute, service, c.limits.NoRoute, spells(routes[service], end, absent),
			func(Route) string { return "r1 had no route" })...)
	}
	return found
}

func absent(r Route) (time.Time, bool) { return r.Time, !r.Present }

// by sorts observations by what they are about.
func by[T any](all []T, key func(T) string) map[string][]T {
	m := map[string][]T{}
	for _, t := range all {
		m[key(t)] = append(m[key(t)], t)
	}
	return m
}

// A spell is a time in which all observations were bad.
type spell[T any] struct {
	Span
	first T
}

// spells finds the times in which observations were bad. A state lasts until the next
// observation.
func spells[T any](all []T, end time.Time, bad func(T) (time.Time, bool)) []spell[T] {
	var found []spell[T]
	for i := 0; i < len(all); i++ {
		from, is := bad(all[i])
		if !is {
			continue
		}
		s := spell[T]{Span{from, end}, all[i]}
		for ; i < len(all); i++ {
			if at, is := bad(all[i]); !is {
				s.To = at
				break
			}
		}
		found = append(found, s)
	}
	return found
}

// long finds the spells that lasted longer than the limit without excuse.
func long[T any](c checker, invariant string, effect Effect, service string, limit time.Duration, all []spell[T], say func(T) string) []Violation {
	var found []Violation
	for _, s := range all {
		for _, part := range c.uncovered(s.Span, effect, service) {
			if part.Long() > limit {
				found = append(found, Violation{
					Invariant: invariant, Subject: service, Time: part.From,
					Evidence: fmt.Sprintf("%s from %s to %s, %v without excuse", say(s.first), clock(s.From), clock(s.To), part.Long().Round(time.Millisecond)),
				})
			}
		}
	}
	return found
}

// addresses finds Services whose address changed, and addresses that two have.
func (c checker) addresses(all []Reading) []Violation {
	var found []Violation
	last := map[string][]netip.Addr{}
	clash := map[string]bool{}
	for _, r := range all {
		owner := map[netip.Addr]string{}
		for _, service := range slices.Sorted(maps.Keys(r.Addresses)) {
			now := r.Addresses[service]
			for _, a := range now {
				other, taken := owner[a]
				if pair := fmt.Sprint(a, other, service); taken && !clash[pair] {
					clash[pair] = true
					found = append(found, Violation{Invariant: InvariantTwice, Subject: service, Time: r.Time,
						Evidence: fmt.Sprintf("%s and %s both have %s", other, service, a)})
				}
				owner[a] = service
			}
			before := last[service]
			if len(before) > 0 && !slices.Equal(before, now) && !c.excused(r.Time, Readdress, service) {
				found = append(found, Violation{Invariant: InvariantAddress, Subject: service, Time: r.Time,
					Evidence: fmt.Sprintf("it had %v and now has %v", before, now)})
			}
			last[service] = now
		}
		// A Service that was deleted and made again is another one.
		for service := range last {
			if _, there := r.Addresses[service]; !there {
				delete(last, service)
			}
		}
	}
	return found
}

// Blame enters which steps were going on at the time of each violation, or had ended
// within ten seconds.
func Blame(all []Violation, steps []Done, now time.Time) {
	for i, v := range all {
		for _, d := range steps {
			if d.Step.Kind != Quiet && !d.Start.After(v.Time) && d.end(now).Add(10*time.Second).After(v.Time) {
				all[i].Steps = append(all[i].Steps, d.Number)
			}
		}
	}
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }
