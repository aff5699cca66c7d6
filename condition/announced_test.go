// SPDX-License-Identifier: Apache-2.0

package condition_test

import (
	"fmt"
	"maps"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// A Judge writes a condition after the observations have settled, at most after its doubt,
// and repeats the write with its event until the Service has the condition.
func TestJudgeSettles(t *testing.T) {
	s, _ := announcetest.Layer2Cluster(t)
	s.Services, s.Endpoints = nil, map[cluster.Key][]cluster.Endpoint{}
	announcetest.AddService(&s, "web", false, []string{"192.0.2.1"}, "n1")
	svc := s.Services[0]
	svc.Conditions = []cluster.Condition{{Type: assign.ConditionAddressAssigned, True: true}}
	quiet := condition.Observed{Reported: true}
	seen := condition.Observed{Reported: true, Announcers: table.Of(maps.All(map[cluster.Key]string{svc.Key: "layer2 from n1"}))}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var j condition.Judge
	for _, step := range []struct {
		after    time.Duration
		observed condition.Observed
		next     time.Duration // zero: never
		want     status.Reason // of the write; empty: there is none
	}{
		{after: 0, observed: quiet, next: 2 * time.Second},
		{after: time.Second, observed: seen, next: 1500 * time.Millisecond},
		{after: 1400 * time.Millisecond, observed: quiet, next: 2 * time.Second},
		{after: 1900 * time.Millisecond, observed: seen, next: 2 * time.Second},
		{after: 2 * time.Second, observed: seen, want: status.Announced},
		{after: 3 * time.Second, observed: seen, want: status.Announced}, // until the Service has it
	} {
		plan := j.Complete(assign.Plan{}, s, step.observed, svc.Class, start.Add(step.after))
		var next time.Duration
		if !plan.Next.IsZero() {
			next = plan.Next.Sub(start)
		}
		var got status.Reason
		for _, u := range plan.Updates {
			got = u.Announced.Reason
			if len(u.Events) != 1 || u.Events[0].Reason != string(status.Announced) {
				t.Errorf("after %v: events %v", step.after, u.Events)
			}
		}
		if next != step.next || got != step.want {
			t.Errorf("after %v: reason %q, next pass after %v; want %q, %v", step.after, got, next, step.want, step.next)
		}
	}
}

// While nodes report one Service after another, one that none has reported yet is not said
// to be announced by nobody, for half a minute at most. A Service that was announced is.
func TestJudgeWaitsForReports(t *testing.T) {
	const other = 500 // milliseconds between two reports of other Services
	for _, tt := range []struct {
		name     string
		have     *cluster.Condition
		reports  time.Duration // how long nodes report others
		reported time.Duration // when they report this one; zero: never
		want     []string
	}{
		{name: "nobody reports", want: []string{"2s NotAnnounced"}},
		{name: "its turn comes", reports: 20 * time.Second, reported: 15 * time.Second, want: []string{"17s Announced"}},
		{name: "it is left out", reports: 10 * time.Second, want: []string{"12s NotAnnounced"}},
		{name: "they report for ever", reports: time.Hour, want: []string{"30s NotAnnounced"}},
		{
			name: "it was announced", reports: 20 * time.Second, want: []string{"2s NotAnnounced"},
			have: &cluster.Condition{Type: condition.TypeAnnounced, True: true, Reason: status.Announced, Message: "layer2 from n1"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := announcetest.Layer2Cluster(t)
			s.Services, s.Endpoints = nil, map[cluster.Key][]cluster.Endpoint{}
			announcetest.AddService(&s, "web", false, []string{"192.0.2.1"}, "n1")
			svc := *s.Services[0]
			svc.Conditions = []cluster.Condition{{Type: assign.ConditionAddressAssigned, True: true}}
			if tt.have != nil {
				svc.Conditions = append(svc.Conditions, *tt.have)
			}
			var j condition.Judge
			var got []string
			for ms := 0; ms <= 60_000 && len(got) == 0; ms += 100 {
				after := time.Duration(ms) * time.Millisecond
				says := map[cluster.Key]string{}
				for i := range min(ms, int(tt.reports.Milliseconds())) / other {
					says[cluster.Key{Namespace: "a", Name: strconv.Itoa(i)}] = "layer2 from n1"
				}
				if tt.reported > 0 && after >= tt.reported {
					says[svc.Key] = "layer2 from n2"
				}
				s.Services = []*cluster.Service{&svc}
				o := condition.Observed{Reported: true, Announcers: table.Of(maps.All(says))}
				for _, u := range j.Complete(assign.Plan{}, s, o, svc.Class, time.Unix(1e9, 0).Add(after)).Updates {
					got = append(got, fmt.Sprint(after, " ", u.Announced.Reason))
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("written (-want +got):\n%s", diff)
			}
		})
	}
}
