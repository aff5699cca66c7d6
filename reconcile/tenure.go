// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"slices"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// tenures have since when the decisions about each Service are as they are. They are
// read-only. Those that were made in one pass share theirs.
type tenures = table.Table[cluster.Key, *tenure]

// A tenure is since when each decision about a Service announces, or does not, for its reason:
// in the order of the decisions. One time alone is that of all.
type tenure struct{ since []time.Time }

// of returns the time of decision i.
func (t *tenure) of(i int) time.Time {
	if len(t.since) == 1 {
		return t.since[0]
	}
	return t.since[i]
}

// A tenureMemory knows the tenures. It costs what has changed. The zero value is that of an
// agent that has decided nothing. The loop owns it.
type tenureMemory struct {
	all table.Editor[cluster.Key, *tenure]
}

// next takes in the decisions that follow others.
func (m *tenureMemory) next(was, is announce.Decisions, now time.Time) tenures {
	fresh := &tenure{since: []time.Time{now.UTC().Truncate(time.Millisecond)}} // more digits make the report longer
	for c := range table.Diff(was, is, announce.SameList) {
		if c.After == nil {
			m.all.Delete(c.Key)
			continue
		}
		m.all.Set(c.Key, m.follow(c, fresh))
	}
	return m.all.Table()
}

// since returns a function that returns since when decision i about a Service is as it is;
// zero: it is not known.
func (m *tenureMemory) since(key cluster.Key) func(i int) time.Time {
	known, ok := m.all.Get(key)
	return func(i int) time.Time {
		if !ok {
			return time.Time{}
		}
		return known.of(i)
	}
}

// follow returns the tenure of decisions that have changed; fresh is that of new ones.
func (m *tenureMemory) follow(c table.Change[cluster.Key, []status.Decision], fresh *tenure) *tenure {
	known, ok := m.all.Get(c.Key)
	if !ok || c.Before == nil {
		return fresh
	}
	since := make([]time.Time, len(*c.After))
	for i, d := range *c.After {
		since[i] = fresh.since[0]
		if k := indexOf(*c.Before, d); k >= 0 && unchanged((*c.Before)[k], d) {
			since[i] = known.of(k)
		}
	}
	if slices.ContainsFunc(since, func(t time.Time) bool { return !t.Equal(fresh.since[0]) }) {
		return &tenure{since: since}
	}
	return fresh
}

// indexOf returns the place of the decision about the same address over the same protocol; -1:
// there is none.
func indexOf(all []status.Decision, d status.Decision) int {
	return slices.IndexFunc(all, func(o status.Decision) bool { return announce.CompareDecisions(o, d) == 0 })
}

// unchanged reports whether a decision says the same as before, whatever the details are.
func unchanged(was, is status.Decision) bool {
	return was.Announce == is.Announce && was.Reason == is.Reason
}

// listSince returns all decisions in their order, each with its time.
func listSince(decisions announce.Decisions, all tenures) []status.Decision {
	out := make([]status.Decision, 0, decisions.Len())
	for key, of := range decisions.All() {
		t, ok := all.Get(key)
		for i, d := range of {
			if ok {
				d.Since = t.of(i)
			}
			out = append(out, d)
		}
	}
	return out
}
