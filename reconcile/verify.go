// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/handover"
)

// MessageDiffer is the log's message about remembered decisions that differ from those that
// are made from scratch. It is a fault in Herald.
const MessageDiffer = "remembered decisions differ"

// A verifier makes all decisions of each pass from scratch, and compares. Its past is that of the
// agent.
type verifier struct {
	on     bool
	memory handover.Memory
}

// decide makes all decisions from scratch. It returns a function that compares what follows with an
// outcome, and returns the first difference; empty: there is none. It is called before the
// agent changes what it announces.
func (f *verifier) decide(v *view, node string, layer2 bool, sent func([]netip.Prefix) bool) func(handover.OutcomeTables) string {
	if !f.on {
		return func(handover.OutcomeTables) string { return "" }
	}
	s := v.cluster.Snapshot()
	bgp := announce.BGP(s, node, v.opts)
	var answers announce.DesiredLayer2
	if layer2 {
		answers = announce.Layer2(s, node, v.around.Membership, v.opts)
	}
	return func(got handover.OutcomeTables) string {
		return difference(f.memory.Next(bgp, answers, v.around.Gaps, sent, v.now), got.List())
	}
}

// questions compares what the data plane is asked with what it should be, and returns the
// first difference; empty: there is none.
func (f *verifier) questions(s cluster.Tables, node string, opts announce.Options, got announce.QuestionTable) string {
	if !f.on {
		return ""
	}
	var all []announce.Question
	for _, of := range got.All() {
		all = append(all, of...)
	}
	return differing("question", all, announce.Questions(s.Snapshot(), node, opts), announce.Question.Equal)
}

// statuses compares what was seen to be announced with what it should be, and returns the
// first difference; empty: there is none. Any goroutine may call it.
func (f *verifier) statuses(seen Seen, got ServiceStatuses) string {
	if !f.on {
		return ""
	}
	var all []ServiceStatus
	for _, of := range got.All() {
		all = append(all, of...)
	}
	return differing("status", all, seen.ServiceStatuses(), ServiceStatus.Equal)
}

// differing returns the first difference between two lists of what is called so; empty: there
// is none.
func differing[T any](what string, got, want []T, equal func(a, b T) bool) string {
	for i, w := range want {
		if !equal(w, at(got, i)) {
			return fmt.Sprintf("%s: %+v is not %+v", what, at(got, i), w)
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("%s: there are %d, want %d", what, len(got), len(want))
	}
	return ""
}

// difference returns the first difference between two outcomes; empty: there is none.
func difference(want, got handover.Outcome) string {
	for i, d := range want.Decisions {
		if i >= len(got.Decisions) || !d.Same(got.Decisions[i]) {
			return fmt.Sprintf("decision about %s %s: %+v is not %+v", d.Service, d.Addr, at(got.Decisions, i), d)
		}
	}
	for i, a := range want.Answers {
		if i >= len(got.Answers) || !a.Equal(got.Answers[i]) {
			return fmt.Sprintf("answer for %s: %+v is not %+v", a.Addr, at(got.Answers, i), a)
		}
	}
	switch {
	case len(want.Decisions) != len(got.Decisions):
		return fmt.Sprintf("%d decisions, want %d", len(got.Decisions), len(want.Decisions))
	case len(want.Answers) != len(got.Answers):
		return fmt.Sprintf("%d answers, want %d", len(got.Answers), len(want.Answers))
	case !slices.Equal(want.BGP.Networks, got.BGP.Networks) || !(len(want.BGP.Classes)+len(got.BGP.Classes) == 0 || reflect.DeepEqual(want.BGP.Classes, got.BGP.Classes)):
		return fmt.Sprintf("networks: %v is not %v", got.BGP.Networks, want.BGP.Networks)
	case !want.Next.Equal(got.Next) || want.Ask != got.Ask || !slices.Equal(want.GivenUp, got.GivenUp):
		return fmt.Sprintf("next %v, ask %v, given up %v; want %v, %v, %v", got.Next, got.Ask, got.GivenUp, want.Next, want.Ask, want.GivenUp)
	}
	return ""
}

// at returns an element of a list, or the zero value behind its end.
func at[E any](list []E, i int) (e E) {
	if i < len(list) {
		return list[i]
	}
	return e
}

// remembering returns a function that gives the same answer as f at each call for the same
// route, though routers may be sent one meanwhile.
func remembering(f func(netip.Prefix) bool) func([]netip.Prefix) bool {
	known := map[netip.Prefix]bool{}
	return func(routes []netip.Prefix) bool {
		for _, r := range routes {
			is, ok := known[r]
			if !ok {
				is = f(r)
				known[r] = is
			}
			if !is {
				return false
			}
		}
		return true
	}
}
