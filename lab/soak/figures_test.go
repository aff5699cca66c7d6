// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Figures say how much of a loss, and of a state that should not be, steps excuse.
func TestMeasure(t *testing.T) {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	o := Observations{
		End:  at(60),
		Lost: []Lost{{Service: "lan-a", Time: at(11)}, {Service: "lan-a", Time: at(30)}, {Service: "lan-b", Time: at(30)}},
		Answers: []Answer{
			{"lan-a", at(0), []string{"n1"}}, {"lan-a", at(10), nil}, {"lan-a", at(15), []string{"n2"}}, {"lan-a", at(20), []string{"n1", "n2"}},
			{"lan-a", at(21), []string{"n2"}}, {"lan-b", at(0), []string{"n1"}}, {"lan-b", at(40), []string{"n1", "n2"}},
		},
		Routes: []Route{{"routed-a", at(0), true}, {"routed-a", at(50), false}, {"routed-a", at(51), true}},
	}
	excuses := []Excuse{{Step: 1, Effects: []Effect{Loss, NoOwner, Owners}, Services: []string{"lan-a"}, From: at(10), To: at(13)}}
	got := Measure(o, excuses)
	want := Figures{
		Excused: map[string]int{"lan-a": 1},
		Longest: map[Effect]Longest{
			NoOwner: {All: 5 * time.Second, Unexcused: 2 * time.Second},
			Owners:  {All: 20 * time.Second, Unexcused: 20 * time.Second},
			NoRoute: {All: time.Second, Unexcused: time.Second},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("figures (-want +got):\n%s", diff)
	}

	more := Figures{Excused: map[string]int{"lan-a": 2, "lan-b": 1}, Longest: map[Effect]Longest{Owners: {All: 30 * time.Second}}}
	want.Excused = map[string]int{"lan-a": 3, "lan-b": 1}
	want.Longest[Owners] = Longest{All: 30 * time.Second, Unexcused: 20 * time.Second}
	if diff := cmp.Diff(want, got.add(more)); diff != "" {
		t.Errorf("the sum (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(got, Figures{}.add(got)); diff != "" {
		t.Errorf("the sum with nothing (-want +got):\n%s", diff)
	}
}

// A process grows in its own life. The next one of its name is another.
func TestSized(t *testing.T) {
	var s Size
	var l life
	for _, page := range []string{
		"process_start_time_seconds 100\nprocess_resident_memory_bytes 30e6\nprocess_open_fds 20\ngo_goroutines 30\n",
		"process_start_time_seconds 100\nprocess_resident_memory_bytes 45e6\nprocess_open_fds 25\ngo_goroutines 28\n",
		"process_start_time_seconds 200\nprocess_resident_memory_bytes 28e6\nprocess_open_fds 18\ngo_goroutines 31\n",
		"process_start_time_seconds 200\nprocess_resident_memory_bytes 33e6\nprocess_open_fds 18\ngo_goroutines 29\n",
	} {
		s, l = sized(s, l, metrics(page))
	}
	want := Size{Lives: 2, Peak: 45e6, Grown: 15e6, Files: 25, Routines: 31}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("size (-want +got):\n%s", diff)
	}
}

// A report names each invariant, with how often it was violated.
func TestReportSummary(t *testing.T) {
	r := Report{
		Seed: 3, Planned: 1000, From: 961, Steps: []Done{{Step: Step{Kind: Drain}}, {Step: Step{Kind: Quiet}}, {Step: Step{Kind: Drain}}},
		Violations: []Violation{{Invariant: InvariantOwners}, {Invariant: InvariantOwners}},
		Loads:      map[string]LoadSum{"lan-a": {Sent: 900, Lost: 7, Again: 2}},
		Figures: Figures{
			Excused: map[string]int{"lan-a": 5}, Longest: map[Effect]Longest{Owners: {All: 1500 * time.Millisecond}},
			Sizes: map[string]Size{"agent-n1": {Lives: 4, Peak: 64 << 20, Grown: 3 << 20, Files: 30, Routines: 90}},
		},
	}
	b := new(strings.Builder)
	if err := r.WriteText(b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"3 of 1000 steps, from step 961", "2 kinds of steps: drain 2, quiet 1\n", "lan-a: 900 requests, 7 lost, 5 of them excused by a step, 2 sent again\n",
		"several nodes answered for an address: at most 1.5s, 0s of it without excuse\n",
		"agent-n1: at most 64 MiB, 30 files, 90 goroutines; started 4 times; the most that one process grew: 3 MiB\n",
		InvariantOwners + ": 2 violations\n", InvariantLoss + ": 0 violations\n", InvariantStep + ": 0 violations\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the report does not say %q:\n%s", want, b)
		}
	}
}
