// SPDX-License-Identifier: Apache-2.0

package status

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Board shows the newest Report, and counts events between two reads of it. Its
// methods are safe for concurrent use and never block.
type Board struct {
	opts BoardOptions

	passes      prometheus.Counter
	failures    prometheus.Counter
	passSeconds prometheus.Histogram

	mu     sync.Mutex // guards the fields below
	report Report
}

// BoardOptions configure a Board.
type BoardOptions struct {
	Identity   Identity              // required
	Registerer prometheus.Registerer // required
	Journal    *Journal              // optional: the changes that the Report has; nil: those that the Board finds
	Live       func(*Report)         // optional: adds what changes between two passes, at every read
	FRR        func() *FRR           // optional: the state of FRR
	Watches    func() []Watch        // optional: what is read from the API server
	LogLevel   func() string         // optional
	Timings    *Timings              // optional: what the report shows of them
}

// NewBoard returns a Board whose Report is empty, and registers its metrics.
func NewBoard(opts BoardOptions) *Board {
	if opts.Journal == nil {
		opts.Journal = &Journal{}
	}
	b := &Board{
		opts: opts,
		passes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "metallb_k8s_client_updates_total",
			Help: "Number of times that the state of the cluster was looked at.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "metallb_k8s_client_update_errors_total",
			Help: "Number of configurations refused, passes that came to nothing, and writes that the API server refused.",
		}),
		passSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "herald_pass_duration_seconds",
			Help:    "Time taken to decide, once, about all Services.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1},
		}),
	}
	b.report.Identity = opts.Identity
	opts.Registerer.MustRegister(b.passes, b.failures, b.passSeconds, collector{b})
	return b
}

// Set shows the Report of the last pass. The Board fills in the Identity.
func (b *Board) Set(r Report) {
	b.passes.Inc()
	b.passSeconds.Observe(r.Took.Seconds())
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.Config.Error != "" && r.Config.Error != b.report.Config.Error {
		b.failures.Inc()
	}
	if r.Error != "" && r.Error != b.report.Error {
		b.failures.Inc()
	}
	r.Identity = b.opts.Identity
	r.Passes = b.report.Passes + 1
	if b.report.Passes > 0 {
		b.opts.Journal.Add(changesOf(b.report, r, time.Now())...)
	}
	b.report = r
}

// Written counts a write to the API server.
func (b *Board) Written(err error) {
	if err != nil {
		b.failures.Inc()
	}
}

// Full returns the newest Report with all that /status has.
func (b *Board) Full() Report {
	r := b.Report()
	r.SchemaVersion, r.Changes = SchemaVersion, b.opts.Journal.List()
	if r.Survey != nil {
		r.Survey(&r)
		r.Survey = nil
	}
	if b.opts.Watches != nil {
		r.Watches = b.opts.Watches()
	}
	if b.opts.LogLevel != nil {
		r.LogLevel = b.opts.LogLevel()
	}
	r.Now = time.Now().UTC()
	return r
}

// Report returns the newest Report, as metrics need it.
func (b *Board) Report() Report {
	b.mu.Lock()
	r := b.report
	b.mu.Unlock()
	if r.Decide != nil {
		r.Decisions, r.Decide = r.Decide(), nil
	}
	if b.opts.FRR != nil {
		r.FRR = b.opts.FRR()
	}
	if b.opts.Timings != nil {
		r.Timings = b.opts.Timings.List()
	}
	if b.opts.Live != nil {
		b.opts.Live(&r)
	}
	return r
}

// Unready returns why the process does not do its work; empty if it does. It costs the
// same for any number of Services: everybody may ask, at any rate.
func (b *Board) Unready() string {
	b.mu.Lock()
	synced := b.report.Synced
	b.mu.Unlock()
	if !synced {
		return "not synced with the API server"
	}
	if b.opts.FRR != nil {
		if f := b.opts.FRR(); f != nil && !f.Applied {
			return "configuration not applied to FRR: " + f.Error
		}
	}
	return ""
}
