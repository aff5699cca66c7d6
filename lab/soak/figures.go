// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Figures sum up what was observed, whether or not it violates an invariant.
type Figures struct {
	Excused map[string]int     `json:"excused"` // lost requests that a step may cost, by Service
	Longest map[Effect]Longest `json:"longest"` // how long a state lasted that should not be
	Sizes   map[string]Size    `json:"sizes"`   // by process
}

// Longest are the longest times that a state lasted without a break.
type Longest struct {
	All       time.Duration `json:"all"`
	Unexcused time.Duration `json:"unexcused"` // of the parts that no step excuses
}

// A Size is how much a process took at the quiet steps.
type Size struct {
	Lives    int   `json:"lives"`    // how often it was found to be another process than before
	Peak     int64 `json:"peak"`     // bytes of memory
	Grown    int64 `json:"grown"`    // the most bytes that one process grew from its first quiet step to its last
	Files    int   `json:"files"`    // the most open files
	Routines int   `json:"routines"` // the most goroutines
}

// Measure sums up observations. Sizes are no part of them.
func Measure(o Observations, excuses []Excuse) Figures {
	c := checker{excuses: excuses, stalls: o.Stalls}
	f := Figures{Excused: map[string]int{}, Longest: map[Effect]Longest{}}
	for _, l := range o.Lost {
		if c.excused(l.Time, Loss, l.Service) {
			f.Excused[l.Service]++
		}
	}
	for service, all := range by(o.Answers, func(a Answer) string { return a.Service }) {
		measure(f, c, NoOwner, service, spells(all, o.End, answeredByNone))
		measure(f, c, Owners, service, spells(all, o.End, answeredByMany))
	}
	for service, all := range by(o.Routes, func(r Route) string { return r.Service }) {
		measure(f, c, NoRoute, service, spells(all, o.End, absent))
	}
	return f
}

// measure enters how long the spells of a state lasted.
func measure[T any](f Figures, c checker, effect Effect, service string, all []spell[T]) {
	longest := f.Longest[effect]
	for _, s := range all {
		longest.All = max(longest.All, s.Long())
		for _, part := range c.uncovered(s.Span, effect, service) {
			longest.Unexcused = max(longest.Unexcused, part.Long())
		}
	}
	f.Longest[effect] = longest
}

// add returns the figures of both, with the sizes of g.
func (f Figures) add(g Figures) Figures {
	sum := Figures{Excused: maps.Clone(g.Excused), Longest: maps.Clone(g.Longest), Sizes: g.Sizes}
	for service, n := range f.Excused {
		sum.Excused[service] += n
	}
	for effect, l := range f.Longest {
		have := sum.Longest[effect]
		sum.Longest[effect] = Longest{max(have.All, l.All), max(have.Unexcused, l.Unexcused)}
	}
	return sum
}

// A life is one process of several that have a name one after the other.
type life struct {
	started float64 // when, as its metrics say
	first   int64   // bytes at the first look
}

// sized enters how large a process is into its size so far.
func sized(s Size, l life, m map[string]float64) (Size, life) {
	bytes := int64(m["process_resident_memory_bytes"])
	if started := m["process_start_time_seconds"]; s.Lives == 0 || started != l.started {
		s.Lives++
		l = life{started, bytes}
	}
	s.Peak, s.Grown = max(s.Peak, bytes), max(s.Grown, bytes-l.first)
	s.Files, s.Routines = max(s.Files, int(m["process_open_fds"])), max(s.Routines, int(m["go_goroutines"]))
	return s, l
}

// summary writes a report's figures for people.
func (r Report) summary(b *strings.Builder) {
	counts := map[Kind]int{}
	for _, d := range r.Steps {
		counts[d.Step.Kind]++
	}
	var kinds []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		kinds = append(kinds, fmt.Sprintf("%s %d", k, counts[k]))
	}
	fmt.Fprintf(b, "%d kinds of steps: %s\n", len(kinds), strings.Join(kinds, ", "))
	for _, name := range slices.Sorted(maps.Keys(r.Loads)) {
		l := r.Loads[name]
		fmt.Fprintf(b, "%s: %d requests, %d lost, %d of them excused by a step, %d sent again\n", name, l.Sent, l.Lost, r.Figures.Excused[name], l.Again)
	}
	for _, e := range []struct {
		effect Effect
		state  string
	}{{NoOwner, "nobody answered for an address"}, {Owners, "several nodes answered for an address"}, {NoRoute, "r1 had no route, or none by way of a node"}} {
		l := r.Figures.Longest[e.effect]
		fmt.Fprintf(b, "%s: at most %v, %v of it without excuse\n", e.state, l.All.Round(time.Millisecond), l.Unexcused.Round(time.Millisecond))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Figures.Sizes)) {
		s := r.Figures.Sizes[name]
		fmt.Fprintf(b, "%s: at most %d MiB, %d files, %d goroutines; started %d times; the most that one process grew: %d MiB\n",
			name, s.Peak>>20, s.Files, s.Routines, s.Lives, s.Grown>>20)
	}
	failed := map[string]int{}
	for _, v := range r.Violations {
		failed[v.Invariant]++
	}
	for _, invariant := range invariants {
		fmt.Fprintf(b, "%s: %d violations\n", invariant, failed[invariant])
	}
}
