// SPDX-License-Identifier: Apache-2.0

package status

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Span is something that users wait for, and that is measured each time.
type Span string

// The Spans of a controller.
const (
	SpanAssign       Span = "assign"       // a Service appears -> it has its addresses
	SpanAnnounce     Span = "announce"     // it has addresses and an endpoint -> a node reports that it announces it
	SpanInterruption Span = "interruption" // no node reports any more that it announces it -> one does
)

// The Spans of an agent.
const (
	SpanConfirmBGP    Span = "confirm-bgp"    // this node is to announce a route -> a router was sent it
	SpanConfirmLayer2 Span = "confirm-layer2" // this node is to answer for an address -> its first gratuitous packets were sent
	SpanFailover      Span = "failover"       // layer 2: the owner of an address is lost -> this node answers for it
	SpanSession       Span = "session"        // a BGP session is down -> it is up
)

// ControllerSpans and AgentSpans are the Spans that each program measures.
var (
	ControllerSpans = []Span{SpanAssign, SpanAnnounce, SpanInterruption}
	AgentSpans      = []Span{SpanConfirmBGP, SpanConfirmLayer2, SpanFailover, SpanSession}
)

// spanBuckets are for what takes from 1 ms to 60 s: three for each power of ten.
var spanBuckets = []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 30, 60}

// spanMetrics are the histograms of the Spans.
var spanMetrics = map[Span]prometheus.HistogramOpts{
	SpanAssign: {Name: "herald_service_assign_duration_seconds",
		Help: "Time from the moment that a Service asks for addresses until it has them. Services that had to wait for a person, such as for a free address, do not count."},
	SpanAnnounce: {Name: "herald_service_announce_duration_seconds",
		Help: "Time from the moment that a Service has addresses and an endpoint until a node reports that it announces it."},
	SpanInterruption: {Name: "herald_service_interruption_duration_seconds",
		Help: "Time in which no node reported that it announces a Service that has endpoints, and that was announced before and after."},
	SpanConfirmBGP: {Name: "herald_announcement_confirm_duration_seconds", ConstLabels: prometheus.Labels{"protocol": string(BGP)},
		Help: confirmHelp},
	SpanConfirmLayer2: {Name: "herald_announcement_confirm_duration_seconds", ConstLabels: prometheus.Labels{"protocol": string(Layer2)},
		Help: confirmHelp},
	SpanFailover: {Name: "herald_failover_duration_seconds",
		Help: "Time from the last sign of life of a node that was lost until this node answers for an address of it on layer 2."},
	SpanSession: {Name: "herald_bgp_session_recovery_duration_seconds",
		Help: "Time from the moment that a BGP session was seen to be down, or was configured, until it was up."},
}

const confirmHelp = "Time from the decision of this node to announce an address until that was seen to be in force: a router was sent the route, or gratuitous packets were sent."

// A Timing is how long a Span took, each time since the process started.
type Timing struct {
	Span  Span    `json:"span"`
	Count uint64  `json:"count"`
	Sum   float64 `json:"sum"` // seconds
	Last  Measure `json:"last,omitzero"`
	Max   Measure `json:"max,omitzero"`
}

// A Measure is how long a Span took once.
type Measure struct {
	Seconds float64   `json:"seconds"`
	At      time.Time `json:"at"`                // when it ended
	Subject string    `json:"subject,omitempty"` // the Service, address, route or peer
}

// Timings measure Spans: as histograms, and as sums for the report. Its methods are safe
// for concurrent use and do not block.
type Timings struct {
	histograms map[Span]prometheus.Histogram

	mu  sync.Mutex // guards the field below
	all []Timing
}

// NewTimings returns Timings of these Spans, and registers their metrics.
func NewTimings(r prometheus.Registerer, spans []Span) *Timings {
	t := &Timings{histograms: make(map[Span]prometheus.Histogram, len(spans))}
	for _, span := range spans {
		opts := spanMetrics[span]
		opts.Buckets = spanBuckets
		h := prometheus.NewHistogram(opts)
		r.MustRegister(h)
		t.histograms[span] = h
		t.all = append(t.all, Timing{Span: span})
	}
	return t
}

// Observe notes that a Span ended now, and how long it took. It panics if that is none of
// the Spans.
func (t *Timings) Observe(span Span, subject string, took time.Duration) {
	m := Measure{Seconds: max(took, 0).Seconds(), At: time.Now().UTC().Truncate(time.Millisecond), Subject: subject}
	t.histograms[span].Observe(m.Seconds)
	t.mu.Lock()
	defer t.mu.Unlock()
	of := &t.all[slices.IndexFunc(t.all, func(o Timing) bool { return o.Span == span })]
	of.Count++
	of.Sum += m.Seconds
	of.Last = m
	if m.Seconds >= of.Max.Seconds {
		of.Max = m
	}
}

// List returns the Spans that have ended at least once.
func (t *Timings) List() []Timing {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(t.all), func(o Timing) bool { return o.Count == 0 })
}
