// SPDX-License-Identifier: Apache-2.0

package journey_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/lab/journey"
)

var (
	base    = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	address = netip.MustParsePrefix("198.51.100.7/32")
)

// at returns a time so many microseconds after base.
func at(us int) time.Time { return base.Add(time.Duration(us) * time.Microsecond) }

// log reads a log whose lines have "@100" in the place of a time of 100 µs after base.
func log(t *testing.T, daemon, text string) []journey.Line {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(text) {
		us, rest, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "@"), " ")
		d, err := time.ParseDuration(us + "us")
		if err != nil {
			b.WriteString(line) // something else
			continue
		}
		b.WriteString(`{"time":"` + base.Add(d).Format(time.RFC3339Nano) + `","level":"DEBUG-4",` + rest + "}\n")
	}
	lines, err := journey.Read(daemon, strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// lines are what a controller and two agents log of a/web, which comes and goes.
func lines(t *testing.T) []journey.Line {
	all := log(t, "controller-0", `
no JSON
{"time":"2026-09-01T12:00:00Z","level":"INFO","msg":"service read","service":"a/web"}
@50 "msg":"service read","service":"a/web","ingress":0,"gone":true
@1200 "msg":"service read","service":"a/other","ingress":0,"gone":false
@1300 "msg":"service read","service":"a/web","ingress":0,"gone":false
@1500 "msg":"pass","took":100000
@1750 "msg":"pass","took":300000
@5000 "msg":"service written","service":"a/web","took":3400000,"err":"conflict"
@5600 "msg":"service written","service":"a/web","took":4000000,"err":null`)
	all = append(all, log(t, "agent-n1", `
@1350 "msg":"service read","service":"a/web","ingress":0,"gone":false
@1450 "msg":"pass","took":50000
@1900 "msg":"queue started","took":400000
@5700 "msg":"service read","service":"a/web","ingress":1,"gone":false
@5850 "msg":"routes rendered","took":20000
@5900 "msg":"pass","took":150000
@6400 "msg":"commands answered","daemon":"bgpd","commands":1,"first":"network 198.51.100.7/32 route-map c","last":"network 198.51.100.7/32 route-map c","took":300000
@9000 "msg":"route sent","route":"198.51.100.7/32"
@90100 "msg":"service read","service":"a/web","ingress":1,"gone":true
@90300 "msg":"routes rendered","took":10000
@90400 "msg":"pass","took":200000
@90900 "msg":"commands answered","daemon":"bgpd","commands":1,"first":"no network …","last":"no network …","took":200000`)...)
	return append(all, log(t, "agent-n2", `
@5650 "msg":"service read","service":"a/web","ingress":1,"gone":false
@6600 "msg":"commands answered","daemon":"bgpd","commands":2,"first":"network 198.51.100.71/32 route-map c","last":"network 198.51.100.7/32 route-map c","took":300000`)...)
}

func TestCreated(t *testing.T) {
	got := journey.Created(journey.Seen{
		Service: "a/web", Route: address, Sent: at(100), Answered: at(1100), Status: at(5800), Wire: at(7000), Kernel: at(8000), All: at(8500),
	}, lines(t))
	step := func(name string, us int) journey.Step {
		return journey.Step{Name: name, At: time.Duration(us) * time.Microsecond}
	}
	want := []journey.Step{
		step(journey.Answered, 1000), step(journey.ControllerRead, 1200), step(journey.ControllerPass, 1350), step(journey.PatchSent, 1500),
		step(journey.QueueStarted, 1800), step(journey.PatchAnswered, 5500), step(journey.AgentRead, 5600), step(journey.AgentPass, 5650),
		step(journey.StatusSeen, 5700), step(journey.Rendered, 5750), step(journey.CommandsSent, 6000), step(journey.CommandsDone, 6300),
		step(journey.Wire, 6900), step(journey.Kernel, 7900), step(journey.All, 8400), step(journey.Confirmed, 8900),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

func TestDeleted(t *testing.T) {
	got := journey.Deleted(journey.Seen{
		Service: "a/web", Route: address, Sent: at(90000), Answered: at(90500), Wire: at(91000), Kernel: at(92000),
	}, lines(t))
	var names []string
	for _, s := range got {
		names = append(names, s.Name)
	}
	want := []string{
		journey.AgentRead, journey.AgentPass, journey.Rendered, journey.Answered, journey.CommandsSent, journey.CommandsDone, journey.Wire, journey.Gone,
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if last := got[len(got)-1].At; last != 2*time.Millisecond {
		t.Errorf("the route is gone after %v", last)
	}
}

// What was not seen is no step.
func TestUnseen(t *testing.T) {
	got := journey.Created(journey.Seen{Service: "a/none", Route: netip.MustParsePrefix("192.0.2.1/32"), Sent: at(0), Answered: at(10)}, lines(t))
	if len(got) != 1 || got[0].Name != journey.Answered {
		t.Errorf("steps: %+v", got)
	}
}

func TestRows(t *testing.T) {
	way := func(a, b int) []journey.Step {
		return []journey.Step{{Name: "a", At: time.Duration(a) * time.Microsecond}, {Name: "b", At: time.Duration(b) * time.Microsecond}}
	}
	rows := journey.Rows([][]journey.Step{way(1, 10), way(2, 30), way(3, 20), {{Name: "c", At: time.Microsecond}}})
	got, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"step":"c","n":1,"medianMicroseconds":1,"p99Microseconds":1,"sinceStepBeforeMicroseconds":1},` +
		`{"step":"a","n":3,"medianMicroseconds":2,"p99Microseconds":3,"sinceStepBeforeMicroseconds":2},` +
		`{"step":"b","n":3,"medianMicroseconds":20,"p99Microseconds":30,"sinceStepBeforeMicroseconds":17}]`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	var out bytes.Buffer
	if err := journey.Write(&out, "created", rows[2:]); err != nil {
		t.Fatal(err)
	}
	if line := strings.Fields(strings.Split(out.String(), "\n")[1]); !cmp.Equal(line, []string{"20", "30", "17", "3", "b"}) {
		t.Errorf("table:\n%s", out.String())
	}
}

func TestQuantile(t *testing.T) {
	all := []time.Duration{5, 1, 4, 2, 3}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 3, 0.99: 5, 1: 5} {
		if got := journey.Quantile(all, q); got != want {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
	if got := journey.Quantile(nil, 0.5); got != 0 {
		t.Errorf("quantile of nothing: %v", got)
	}
}
