// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
	"github.com/heraldlb/herald/trace"
)

// A LeaderCluster is a TableCluster that can be brought up to date.
type LeaderCluster interface {
	TableCluster
	// Refresh returns when the tables show all that was written before the
	// call, or with an error when the context is canceled.
	Refresh(ctx context.Context) error
}

// A Writer writes the Updates of a Plan.
type Writer interface {
	// Set replaces the Updates. It must not block.
	Set(updates table.Table[cluster.Key, *assign.Update])
	// Run writes until the context is canceled, and nothing after that.
	Run(ctx context.Context) error
}

// A Reporter receives the report of every pass. It must not block.
type Reporter interface {
	Set(r status.Report)
}

// Announcements know what nodes were seen to announce.
type Announcements interface {
	// Announced returns what is known, and whether everything has been read. It must not
	// block.
	Announced() (o condition.Observed, read bool)
	// Run reads until the context is canceled.
	Run(ctx context.Context) error
}

// ControllerOptions are what a Controller works with.
type ControllerOptions struct {
	Worker       *Worker                               // required: woken by whatever changes
	Cluster      LeaderCluster                         // required
	Documents    source.Documents                      // required
	Writer       Writer                                // required
	Reporter     Reporter                              // required
	Logger       *slog.Logger                          // required
	ConfigEvents func(cluster.Event)                   // optional: sends an event about the ConfigMap: its text is refused, or accepted again
	Events       func(*cluster.Service, cluster.Event) // optional: sends an event about a Service that is not written at the moment
	Resources    ResourceWriter                        // optional: publishes the status of resources
	Agents       AgentStates                           // optional: what agents report of the configuration and of their sessions
	State        StateWriter                           // optional: receives whether everything is in force
	Announced    Announcements                         // optional: what nodes announce; nil: the condition Announced follows from the configuration alone
	Assign       assign.Options                        // optional; Now is set for each pass
	Protect      *source.ProtectOptions                // optional: nil protects nothing
	Journal      *status.Journal                       // optional: receives what changes
	Took         Took                                  // optional: receives how long Services wait

	IgnoreExcludeLB bool // optional: agents ignore announce.LabelExcludeNode
	Verify          bool // optional: all decisions are made from scratch in each pass, too, and compared with the remembered ones
}

// A Controller gives Services their addresses. Lead and Follow must not run at
// the same time.
type Controller struct {
	opts    ControllerOptions
	loader  source.Loader
	journal serviceJournal
}

// NewController returns a Controller that does nothing until it leads or
// follows.
func NewController(opts ControllerOptions) *Controller {
	return &Controller{opts: opts, loader: source.Loader{Docs: opts.Documents, Log: opts.Logger, Protect: source.NewProtector(opts.Protect, true)}}
}

// Lead assigns addresses until the context is canceled. It learns from the Services which
// addresses they hold, and keeps nothing from an earlier time of leading.
func (c *Controller) Lead(ctx context.Context) error {
	// The leader before this one may have assigned an address a moment ago.
	if err := c.opts.Cluster.Refresh(ctx); err != nil {
		return nil // no longer leading
	}
	t := c.newTerm()
	c.opts.Worker.Wake()
	defer t.again(c.opts.Worker, time.Time{})
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.opts.Writer.Run(ctx) })
	if c.opts.Resources != nil {
		g.Go(func() error { return c.opts.Resources.Run(ctx) })
	}
	if c.opts.Agents != nil {
		g.Go(func() error { return c.opts.Agents.Run(ctx) })
	}
	if c.opts.State != nil {
		g.Go(func() error { return c.opts.State.Run(ctx) })
	}
	if c.opts.Announced != nil {
		g.Go(func() error { return c.opts.Announced.Run(ctx) })
	}
	g.Go(func() error { return c.opts.Worker.Run(ctx, func() { c.pass(t) }) })
	err := g.Wait()
	// What a pass wanted last is not written when this controller leads again.
	c.opts.Writer.Set(table.Table[cluster.Key, *assign.Update]{})
	if c.opts.Resources != nil {
		c.opts.Resources.Set(nil)
	}
	return err
}

// Follow keeps the configuration and the report up to date, and assigns nothing,
// until the context is canceled.
func (c *Controller) Follow(ctx context.Context) error {
	c.opts.Worker.Wake()
	return c.opts.Worker.Run(ctx, func() { c.pass(nil) })
}

// A term is what a controller remembers while it leads.
type term struct {
	assigned   *assign.Memory
	announced  condition.Memory
	verifier   planVerifier
	unassigned lacking
	event      cluster.Event // the newest about the configuration; zero: it is all right
	overlaps   overlaps
	fleet      Fleet
	resources  ResourceJudge
	timer      *time.Timer
	clashes    []status.Clash // of the last pass
	journal    fleetJournal

	unannounced lacking
	waits       serviceWaits

	unconfigured time.Time // since when there is no configuration; zero: there is one
}

func (c *Controller) newTerm() *term {
	t := &term{assigned: assign.NewMemory(), announced: condition.Memory{IgnoreExclude: c.opts.IgnoreExcludeLB}}
	t.unassigned.reason, t.unannounced.reason = unassigned, unannounced
	if c.opts.Verify {
		t.verifier = newPlanVerifier(c.opts.IgnoreExcludeLB)
	}
	return t
}

// again wakes a Worker at a time, in place of any earlier request; zero: never.
func (t *term) again(w *Worker, at time.Time) {
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
	if !at.IsZero() {
		t.timer = time.AfterFunc(time.Until(at), w.Wake)
	}
}

// pass looks at the cluster once; t is nil for a controller that follows.
func (c *Controller) pass(t *term) {
	start := time.Now()
	s, synced := c.opts.Cluster.Tables()
	read := c.loader.Next(start, s.Snapshot, synced)
	if !synced || !read {
		return // before everything is read an address in use may look free
	}
	l := c.loader.Loaded
	s.Config = l.Config
	r := status.Report{Synced: true, Config: c.loader.Report()}
	if t != nil {
		plan, resources := c.decide(t, s, l, start)
		c.handOver(t, l, plan, resources)
		c.reportClashes(t, s.Services, plan.Clashes)
		r.Leading = true
		r.Pools, r.Clashes = plan.Pools, plan.Clashes
		r.Unassigned = t.unassigned.next(s.Services, plan.Updates)
		r.Unannounced = t.unannounced.next(s.Services, plan.Updates)
	} else {
		r.Survey = c.survey(s, start)
	}
	c.journal.next(c.opts.Journal, s.Services, c.opts.Assign.Class, start)
	r.Took = time.Since(start)
	trace.Line(c.opts.Logger, trace.Pass, slog.Duration("took", r.Took))
	c.opts.Reporter.Set(r)
}
