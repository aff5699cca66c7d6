// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/wake"
)

// A Cluster says what the cluster looks like now, without a configuration, and
// whether all that is to be read has been read.
type Cluster interface {
	Snapshot() (s cluster.Snapshot, synced bool)
}

// A LeaderCluster is a Cluster whose snapshots can be brought up to date.
type LeaderCluster interface {
	Cluster
	// Refresh returns when snapshots show all that was written before the
	// call, or with an error when the context is canceled.
	Refresh(ctx context.Context) error
}

// A Writer makes Services as a Plan wants them.
type Writer interface {
	// Set replaces what is wanted. It must not block.
	Set(updates []assign.Update)
	// Run writes until the context is canceled, and nothing after that.
	Run(ctx context.Context) error
}

// A Reporter is told what came of every pass. It must not block.
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
	ConfigEvents func(cluster.Event)                   // optional: tells of a text that is refused, and when one is accepted again
	Events       func(*cluster.Service, cluster.Event) // optional: tells of Services that are not written at the moment
	Resources    ResourceWriter                        // optional: publishes what became of resources
	Agents       AgentStates                           // optional: what agents report of the configuration and of their sessions
	State        StateWriter                           // optional: told whether all is in force
	Announced    Announcements                         // optional: what nodes announce; nil: Services say of it only what the configuration tells
	Assign       assign.Options                        // optional; Now is set for each pass
	Protect      *source.ProtectOptions                // optional: nil protects nothing

	IgnoreExcludeLB bool // optional: to agents LabelExcludeNode has no meaning
}

// A Controller gives Services their addresses. Lead and Follow must not run at
// the same time.
type Controller struct {
	opts   ControllerOptions
	loader source.Loader
}

// NewController returns a Controller that does nothing until it leads or
// follows.
func NewController(opts ControllerOptions) *Controller {
	return &Controller{opts: opts, loader: source.Loader{Docs: opts.Documents, Log: opts.Logger, Protect: source.NewProtector(opts.Protect, true)}}
}

// Lead assigns addresses until the context is canceled. What Services hold it
// learns from them, not from the last time that it led.
func (c *Controller) Lead(ctx context.Context) error {
	// The leader before this one may have assigned an address a moment ago.
	if err := c.opts.Cluster.Refresh(ctx); err != nil {
		return nil // no longer leading
	}
	t := &term{allocator: alloc.New(nil), announced: condition.Judge{IgnoreExclude: c.opts.IgnoreExcludeLB}}
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
	c.opts.Writer.Set(nil)
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

// A term is a time of leading.
type term struct {
	allocator *alloc.Allocator
	announced condition.Judge
	told      cluster.Event // about the configuration, last; zero: nothing is wrong with it
	overlaps  overlaps
	fleet     Fleet
	resources ResourceJudge
	timer     *time.Timer
	clashes   map[status.Clash]bool // of the last pass

	unconfigured time.Time // since when there is no configuration; zero: there is one
}

// again wakes a Worker at a moment, and at no other that it was told of before;
// the zero Time is never.
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
	s, synced := c.opts.Cluster.Snapshot()
	read := c.loader.Next(start, s, synced)
	if !synced || !read {
		return // before everything is read, an address in use may look free
	}
	l := c.loader.Loaded
	s.Config = l.Config
	r := status.Report{Synced: true, Config: c.loader.Report()}
	if t != nil {
		opts := c.opts.Assign
		opts.Now = start
		plan := assign.Assign(s, t.allocator, opts)
		plan = t.configure(plan, s, l.Err, opts.Class, start)
		in := c.hear(t, versionOf(l), &plan, start)
		a, read := c.announced()
		if read {
			if in.Heard {
				a.Sessions, a.Nowhere = t.fleet.Sessions(), in.Rollout.Nowhere
			}
			plan = t.announced.Complete(plan, s, a, opts.Class, start)
			for _, text := range t.overlaps.next(s, a) {
				c.opts.Logger.Warn("pool overlaps the cluster", "reason", text)
			}
		}
		if c.opts.Resources != nil {
			in.Verdicts, in.Pools = l.Verdicts, plan.Pools
			if read {
				in.Refs = resolveRefs(l.Verdicts, a.Reach)
			}
			resources, next := t.resources.Next(in, start)
			c.opts.Resources.Set(resources)
			plan.Next = wake.Earlier(plan.Next, next)
		}
		t.again(c.opts.Worker, plan.Next)
		c.opts.Writer.Set(plan.Updates)
		c.tell(t, l)
		if c.opts.Events != nil {
			for _, e := range plan.Events {
				c.opts.Events(e.Service, e.Event)
			}
		}
		if c.opts.State != nil {
			c.opts.State.Set(controllerState(l))
		}
		r.Leading = true
		r.Pools, r.Clashes = plan.Pools, plan.Clashes
		c.tellClashes(t, s.Services, plan.Clashes)
		r.Unassigned = unassigned(s.Services, plan.Updates)
	}
	r.Took = time.Since(start)
	c.opts.Reporter.Set(r)
}

// hear takes in what agents report, as far as it is about a version of the
// configuration.
func (c *Controller) hear(t *term, version string, plan *assign.Plan, now time.Time) ResourceInput {
	in := ResourceInput{Protect: c.opts.Protect != nil}
	if c.opts.Resources != nil {
		in.Published = c.opts.Resources.Published
	}
	if c.opts.Agents == nil {
		return in
	}
	var states []AgentState
	states, in.Heard = c.opts.Agents.States()
	t.fleet.Set(states)
	if !in.Heard {
		return in
	}
	var next time.Time
	in.Rollout, next = t.fleet.Rollout(version, now)
	in.Sessions = t.fleet.SessionsByPeer()
	plan.Next = wake.Earlier(plan.Next, next)
	return in
}

// announced returns what nodes announce, and whether that is known.
func (c *Controller) announced() (condition.Observed, bool) {
	if c.opts.Announced == nil {
		return condition.Observed{}, true
	}
	return c.opts.Announced.Announced()
}

// tell sends an event about the ConfigMap when its text is refused, when that is
// over, and when one of two sources does not count. Of resources their own events
// tell.
func (c *Controller) tell(t *term, l source.Loaded) {
	var e cluster.Event
	switch {
	case l.Document.Resources == nil && l.Config == nil && errors.Is(l.Err, source.ErrNotFound):
		// There is nothing that an event could be about: Services tell of it.
	case l.Document.Resources == nil && l.Err != nil:
		e = cluster.Event{Warning: true, Reason: source.EventConfigRejected, Message: l.Err.Error()}
	case l.Document.Notice != "":
		e = cluster.Event{Warning: true, Reason: source.EventConfigAmbiguous, Message: l.Document.Notice}
	}
	before := t.told
	if t.told = e; e == before || c.opts.ConfigEvents == nil {
		return
	}
	if e == (cluster.Event{}) {
		e = cluster.Event{Reason: source.EventConfigAccepted, Message: "the configuration is in force"}
	}
	c.opts.ConfigEvents(e)
}

// unassigned counts the Services without the addresses they ask for, as they
// will be once the updates are written.
func unassigned(services []*cluster.Service, updates []assign.Update) map[status.Reason]int {
	count := make(map[status.Reason]int)
	for _, svc := range services {
		condition := svc.Condition(assign.ConditionAddressAssigned)
		if len(updates) > 0 && updates[0].Service == svc {
			condition, updates = updates[0].Condition, updates[1:]
		}
		if condition != nil && !condition.True {
			count[condition.Reason]++
		}
	}
	return count
}
