// SPDX-License-Identifier: Apache-2.0

package soak_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/lab/soak"
)

var begin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// at is a time in milliseconds after the beginning.
func at(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }

// took is a step that was carried out and undone.
func took(number int, k soak.Kind, from, to int) soak.Done {
	s := soak.Step{Kind: k, Node: "n1"}
	return soak.Done{Number: number, Step: s, World: soak.NewWorld().Apply(s), Start: at(from), End: at(to)}
}

// answers are one answer each 300 ms, from a time to another, by the same nodes.
func answers(service string, from, to int, owners ...string) []soak.Answer {
	var all []soak.Answer
	for ms := from; ms < to; ms += 300 {
		all = append(all, soak.Answer{Service: service, Time: at(ms), Owners: owners})
	}
	return all
}

func lost(service string, ms ...int) []soak.Lost {
	var all []soak.Lost
	for _, m := range ms {
		all = append(all, soak.Lost{Service: service, Time: at(m), Error: "refused"})
	}
	return all
}

func reading(ms int, addresses ...string) soak.Reading {
	r := soak.Reading{Time: at(ms), Addresses: map[string][]netip.Addr{}}
	for _, text := range addresses {
		name, a, _ := strings.Cut(text, "=")
		r.Addresses[name] = nil
		if a != "" {
			r.Addresses[name] = []netip.Addr{netip.MustParseAddr(a)}
		}
	}
	return r
}

// Each invariant that is violated is found, and what a step may cost is excused, for no
// longer than it may.
func TestCheck(t *testing.T) {
	owner := func(parts ...[]soak.Answer) soak.Observations {
		return soak.Observations{Answers: slices.Concat(parts...)}
	}
	tests := []struct {
		name  string
		steps []soak.Done
		seen  soak.Observations
		want  []string // "invariant: subject at milliseconds"
	}{
		{name: "nothing happens", seen: owner(answers("lan-a", 0, 60000, "n1"))},
		{
			name: "requests are lost",
			seen: soak.Observations{Lost: append(lost("routed-a", 1000, 1100, 5000), lost("lan-a", 1050)...)},
			want: []string{"a request is answered: lan-a at 1050", "a request is answered: routed-a at 1000", "a request is answered: routed-a at 5000"},
		},
		{
			name:  "an agent's death costs requests on layer 2 alone, for a while",
			steps: []soak.Done{took(1, soak.AgentKill, 1000, 20000)},
			seen:  soak.Observations{Lost: append(lost("routed-a", 1500), lost("lan-a", 900, 1500, 3900, 10000, 21000)...)},
			want: []string{
				"a request is answered: lan-a at 900", "a request is answered: lan-a at 10000", "a request is answered: routed-a at 1500",
			},
		},
		{
			name:  "a controller's death costs nothing",
			steps: []soak.Done{took(1, soak.ControlKill, 1000, 20000)},
			seen:  soak.Observations{Lost: lost("lan-a", 1500)},
			want:  []string{"a request is answered: lan-a at 1500"},
		},
		{
			name: "nobody answers",
			seen: owner(answers("lan-a", 0, 3000, "n1"), answers("lan-a", 3000, 4500), answers("lan-a", 4500, 6000, "n2")),
			want: []string{"some node answers for an address: lan-a at 3000"},
		},
		{
			name: "one answer is missing",
			seen: owner(answers("lan-a", 0, 3000, "n1"), answers("lan-a", 3000, 3300), answers("lan-a", 3300, 6000, "n1")),
		},
		{
			name: "nobody answers until the end",
			seen: owner(answers("lan-a", 0, 3000, "n1"), answers("lan-a", 58000, 58300)),
			want: []string{"some node answers for an address: lan-a at 58000"},
		},
		{
			name:  "nobody answers for longer than a failover takes",
			steps: []soak.Done{took(1, soak.AgentKill, 3000, 30000)},
			seen:  owner(answers("lan-a", 0, 3000, "n1"), answers("lan-a", 3000, 9000), answers("lan-a", 9000, 12000, "n2")),
			want:  []string{"some node answers for an address: lan-a at 6000"},
		},
		{
			name:  "two nodes answer, during a cut and long after it",
			steps: []soak.Done{took(1, soak.GossipCut, 1000, 8000)},
			seen:  owner(answers("lan-a", 0, 1200, "n1"), answers("lan-a", 1200, 15000, "n1", "n2"), answers("lan-a", 15000, 18000, "n1")),
			want:  []string{"one node answers for an address: lan-a at 11000"},
		},
		{
			name:  "a drain that is heard of when the API server is back",
			steps: []soak.Done{took(1, soak.APIGone, 1000, 9000), took(2, soak.Drain, 2000, 4000)},
			seen:  owner(answers("lan-a", 0, 9000, "n1"), answers("lan-a", 9000, 10500, "n1", "n2"), answers("lan-a", 10500, 12000, "n2")),
		},
		{
			name: "a route goes away",
			seen: soak.Observations{Routes: []soak.Route{{"routed-a", at(0), true}, {"routed-a", at(4000), false}, {"routed-a", at(4900), true}, {"routed-six", at(0), true}}},
			want: []string{"a route stays: routed-a at 4000"},
		},
		{
			name:  "a node leaves a router with its FRR, and not with its agent",
			steps: []soak.Done{took(1, soak.FRRKill, 1000, 2000), took(2, soak.AgentKill, 1000, 2000)},
			seen: soak.Observations{Routes: []soak.Route{
				{"routed-a via n1", at(0), true}, {"routed-a via n1", at(1500), false}, {"routed-a via n1", at(9000), true},
				{"routed-a via n2", at(0), true}, {"routed-a via n2", at(1500), false}, {"routed-a via n2", at(9000), true},
			}},
			want: []string{"a route stays: routed-a via n2 at 1500"},
		},
		{
			name: "an address changes",
			seen: soak.Observations{Readings: []soak.Reading{
				reading(0, "lan-a=10.0.0.1", "churn-0="), reading(300, "lan-a=10.0.0.1", "churn-0=10.0.0.2"), reading(600, "lan-a=10.0.0.3", "churn-0="),
			}},
			want: []string{"a Service keeps its address: churn-0 at 600", "a Service keeps its address: lan-a at 600"},
		},
		{
			name:  "a Service is changed, and made again",
			steps: []soak.Done{{Number: 1, Step: soak.Step{Kind: soak.ServiceCreate, Target: "churn-0"}, World: soak.NewWorld(), Start: at(100), End: at(150)}},
			seen: soak.Observations{Readings: []soak.Reading{
				reading(0, "churn-0=10.0.0.1", "churn-1=10.0.0.2"), reading(300, "churn-0=10.0.0.7"), reading(600, "churn-0=10.0.0.7", "churn-1=10.0.0.3"),
			}},
		},
		{
			name: "two Services have an address",
			seen: soak.Observations{Readings: []soak.Reading{reading(0, "lan-a=10.0.0.1", "lan-b=10.0.0.1"), reading(300, "lan-a=10.0.0.1", "lan-b=10.0.0.1")}},
			want: []string{"an address has one Service: lan-b at 0"},
		},
		{
			name: "the observer itself was stalled",
			seen: soak.Observations{Lost: lost("lan-a", 1500), Stalls: []soak.Span{{From: at(1000), To: at(2000)}}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.seen.End = at(60000)
			var got []string
			for _, v := range soak.Check(tt.seen, soak.Excuses(tt.steps, 1, at(60000)), soak.Strict) {
				got = append(got, fmt.Sprintf("%s: %s at %d", v.Invariant, v.Subject, v.Time.Sub(begin).Milliseconds()))
				if v.Evidence == "" {
					t.Errorf("%s: no evidence", v.Invariant)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
		})
	}
}

// Generous limits let a busy machine take longer, and still find what lasts.
func TestGenerous(t *testing.T) {
	check := func(seen soak.Observations) int {
		seen.End = at(60000)
		return len(soak.Check(seen, nil, soak.Generous))
	}
	if n := check(soak.Observations{Lost: lost("lan-a", 1000, 1100, 1200)}); n != 0 {
		t.Errorf("a short loss is %d violations", n)
	}
	var long []int
	for ms := 1000; ms < 9000; ms += 100 {
		long = append(long, ms)
	}
	if n := check(soak.Observations{Lost: lost("lan-a", long...)}); n != 1 {
		t.Errorf("a long loss is %d violations", n)
	}
	if n := check(soak.Observations{Answers: answers("lan-a", 0, 12000)}); n != 1 {
		t.Errorf("an address without owner is %d violations", n)
	}
}

// A violation names the steps that were going on, or had just ended.
func TestBlame(t *testing.T) {
	steps := []soak.Done{took(1, soak.AgentKill, 0, 1000), took(2, soak.APIGone, 10000, 30000), took(3, soak.Quiet, 11000, 40000), took(4, soak.Drain, 25000, 26000)}
	found := []soak.Violation{{Time: at(20000)}}
	soak.Blame(found, steps, at(60000))
	if !slices.Equal(found[0].Steps, []int{2}) {
		t.Errorf("steps %v are blamed, want 2", found[0].Steps)
	}
}
