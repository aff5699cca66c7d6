// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/heraldlb/herald/status"
)

// What is measured is in the report, and in a histogram.
func TestTimings(t *testing.T) {
	metrics := prometheus.NewPedanticRegistry()
	timings := status.NewTimings(metrics, status.AgentSpans)
	b := status.NewBoard(status.BoardOptions{Identity: status.Identity{Node: "n1"}, Registerer: metrics, Timings: timings})
	if r := b.Report(); len(r.Timings) > 0 {
		t.Errorf("at first: %+v", r.Timings)
	}
	var at []time.Time
	synctest.Test(t, func(t *testing.T) {
		for _, took := range []time.Duration{300 * time.Millisecond, 1500 * time.Millisecond, -time.Second} {
			time.Sleep(time.Second)
			timings.Observe(status.SpanFailover, "192.0.2.1", took)
			at = append(at, time.Now().UTC())
		}
		timings.Observe(status.SpanConfirmLayer2, "192.0.2.1", time.Millisecond)
		at = append(at, time.Now().UTC())
	})
	want := []status.Timing{
		{Span: status.SpanConfirmLayer2, Count: 1, Sum: .001, Last: status.Measure{Seconds: .001, At: at[3], Subject: "192.0.2.1"}, Max: status.Measure{Seconds: .001, At: at[3], Subject: "192.0.2.1"}},
		{Span: status.SpanFailover, Count: 3, Sum: 1.8, Last: status.Measure{Seconds: 0, At: at[2], Subject: "192.0.2.1"}, Max: status.Measure{Seconds: 1.5, At: at[1], Subject: "192.0.2.1"}},
	}
	if diff := cmp.Diff(want, b.Report().Timings); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	_, page := get(t, b, metrics, "/metrics")
	for _, line := range []string{
		`herald_failover_duration_seconds_bucket{le="0.2"} 1`,
		`herald_failover_duration_seconds_bucket{le="0.5"} 2`,
		`herald_failover_duration_seconds_bucket{le="2"} 3`,
		`herald_failover_duration_seconds_bucket{le="60"} 3`,
		`herald_announcement_confirm_duration_seconds_bucket{protocol="layer2",le="0.001"} 1`,
		`herald_announcement_confirm_duration_seconds_count{protocol="bgp"} 0`,
	} {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("no line %s in\n%s", line, page)
		}
	}
}

// Each program measures spans of its own, and each span has a metric.
func TestSpans(t *testing.T) {
	for _, spans := range [][]status.Span{status.ControllerSpans, status.AgentSpans} {
		metrics := prometheus.NewPedanticRegistry()
		timings := status.NewTimings(metrics, spans)
		for _, span := range spans {
			timings.Observe(span, "x", time.Second)
		}
		all, err := metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		names := 0
		for _, family := range all {
			names += len(family.Metric)
		}
		if names != len(spans) || len(timings.List()) != len(spans) {
			t.Errorf("%q: %d histograms and %d timings", spans, names, len(timings.List()))
		}
	}
	if slices.ContainsFunc(status.AgentSpans, func(s status.Span) bool { return slices.Contains(status.ControllerSpans, s) }) {
		t.Error("controller and agent measure the same")
	}
}
