// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"errors"
	"time"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/wake"
)

// decide returns what Services and the status of resources should be.
func (c *Controller) decide(t *term, s cluster.Tables, l source.Loaded, now time.Time) (assign.PlanTables, []ResourceStatus) {
	opts := c.opts.Assign
	opts.Now = now
	plan := t.assigned.Next(s, opts)
	t.verifier.assigned(s, opts)
	plan = t.configure(plan, s, l.Err, opts.Class, now)
	in := c.hear(t, versionOf(l), &plan, now)
	o, read := c.announced()
	if read && c.opts.Took != nil {
		defer func() {
			t.waits.next(waitInput{services: s.Services, updates: plan.Updates, observed: o, class: opts.Class}, now, c.opts.Took)
		}()
	}
	if read {
		if in.Heard {
			o.Sessions, o.Nowhere = t.fleet.Sessions(), in.Rollout.Nowhere
		}
		plan = t.announced.Complete(plan, s, o, opts.Class, now)
		t.verifier.announced(s, o, opts.Class, now)
		for _, text := range t.overlaps.next(s, o) {
			c.opts.Logger.Warn("pool overlaps the cluster", "reason", text)
		}
	}
	if differ := t.verifier.compare(s, plan); differ != "" {
		c.opts.Logger.Error(MessageDiffer, "err", differ)
	}
	if c.opts.Resources == nil {
		return plan, nil
	}
	in.Verdicts, in.Pools = l.Verdicts, plan.Pools
	if read {
		in.Refs = resolveRefs(l.Verdicts, o.Reach)
	}
	resources, next := t.resources.Next(in, now)
	plan.Next = wake.Earlier(plan.Next, next)
	return plan, resources
}

// handOver hands the decisions over to those that write them.
func (c *Controller) handOver(t *term, l source.Loaded, plan assign.PlanTables, resources []ResourceStatus) {
	if c.opts.Resources != nil {
		c.opts.Resources.Set(resources)
	}
	t.again(c.opts.Worker, plan.Next)
	c.opts.Writer.Set(plan.Updates)
	c.sendConfigEvent(t, l)
	if c.opts.Events != nil {
		for _, e := range plan.Events {
			c.opts.Events(e.Service, e.Event)
		}
	}
	if c.opts.State != nil {
		c.opts.State.Set(controllerState(l))
	}
}

// hear takes in what agents report about a version of the configuration.
func (c *Controller) hear(t *term, version string, plan *assign.PlanTables, now time.Time) ResourceInput {
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
	t.journal.next(c.opts.Journal, states, now)
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

// sendConfigEvent sends an event about the ConfigMap when its text is refused, when it is
// accepted again, and when one of two sources does not count. Resources have events of
// their own.
func (c *Controller) sendConfigEvent(t *term, l source.Loaded) {
	var e cluster.Event
	switch {
	case l.Document.Resources == nil && l.Config == nil && errors.Is(l.Err, source.ErrNotFound):
		// There is no object for an event: the conditions of Services report it.
	case l.Document.Resources == nil && l.Err != nil:
		e = cluster.Event{Warning: true, Reason: source.EventConfigRejected, Message: l.Err.Error()}
	case l.Document.Notice != "":
		e = cluster.Event{Warning: true, Reason: source.EventConfigAmbiguous, Message: l.Document.Notice}
	}
	before := t.event
	if t.event = e; e == before || c.opts.ConfigEvents == nil {
		return
	}
	if e == (cluster.Event{}) {
		e = cluster.Event{Reason: source.EventConfigAccepted, Message: "the configuration is in force"}
	}
	c.opts.ConfigEvents(e)
}
