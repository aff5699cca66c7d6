// SPDX-License-Identifier: Apache-2.0

// Package dataplane asks the data plane of a node, such as kube-proxy, what it serves, so
// that the node announces no address before.
package dataplane

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/trace"
	"github.com/heraldlb/herald/wake"
)

const (
	// idle is the time between two looks at the health of the data plane once the node
	// announces. It is reported, and changes nothing else.
	idle = 10 * time.Second

	// parallel is how many questions are asked at a time, and batch how many before it is
	// looked which others are due.
	parallel = 16
	batch    = 4 * parallel

	// collect is how long answers are collected before they count: after a boot there are
	// thousands at a time.
	collect = 5 * time.Millisecond

	// settleLimit is how long an agent that starts waits for what the data plane says of
	// Services, once that is healthy. FRR may announce them already.
	settleLimit = 2 * time.Second
)

// Options configure a Gate.
type Options struct {
	Healthz netip.AddrPort // required: where the data plane answers whether it is healthy, as kube-proxy does
	Changed func()         // required: called when the Readiness has changed; it must not block
	Settled func()         // required: called once, when the Readiness is settled; it must not block
	Logger  *slog.Logger   // required
}

// A Gate knows which addresses of Services the node's data plane serves. Its methods are
// safe for concurrent use.
type Gate struct {
	opts Options
	ask  asker
	wake wake.Signal

	mu        sync.Mutex // guards the fields below
	node      node
	wanted    bool                // Want was called
	questions []announce.Question // with these
	watches   map[announce.ServiceAddr]watch
	learnt    learnt
	hosts     []netip.Addr // of the node
	waived    uint64       // addresses that were announced though the data plane was not seen to serve them
	readiness announce.Readiness
	updated   time.Time // when the Readiness was made
	stale     bool      // it lacks answers
}

// New returns a Gate that has asked nothing yet.
func New(opts Options) *Gate {
	return &Gate{opts: opts, ask: newAsker(opts.Healthz), wake: wake.New(), watches: map[announce.ServiceAddr]watch{}}
}

// Want replaces the addresses that matter, and the addresses of the node. It does not
// block. An address without endpoints on the node is remembered: the data plane knows it
// already when they come.
func (g *Gate) Want(questions []announce.Question, hosts []netip.Addr) {
	now := time.Now()
	g.mu.Lock()
	if g.wanted && slices.EqualFunc(questions, g.questions, announce.Question.Equal) {
		g.hosts = hosts
		g.mu.Unlock()
		return
	}
	g.questions = questions
	next := make(map[announce.ServiceAddr]watch, len(questions))
	changed := !g.wanted || len(questions) != len(g.watches)
	for _, q := range questions {
		old, had := g.watches[q.ServiceAddr]
		if had && old.about.Equal(q) {
			next[q.ServiceAddr] = old
			continue
		}
		next[q.ServiceAddr], changed = old.want(q, had || !g.wanted, now), true
	}
	g.watches, g.wanted, g.hosts = next, true, hosts
	settled := false
	if changed {
		settled = g.update(now)
		g.wake.Set()
	}
	g.mu.Unlock()
	if settled {
		g.opts.Settled()
	}
}

// Readiness returns what is known. It must not be modified.
func (g *Gate) Readiness() announce.Readiness {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.readiness
}

// Status returns what is known as the report shows it.
func (g *Gate) Status() *status.DataPlane {
	g.mu.Lock()
	defer g.mu.Unlock()
	return &status.DataPlane{
		Answers: g.node.answers, Healthy: g.node.healthy, Detail: g.node.detail,
		Waiting: len(g.readiness.Waits), Waived: g.waived,
	}
}

// update makes the Readiness from what is known, and reports whether it is settled now
// and was not before. The caller holds mu.
func (g *Gate) update(now time.Time) bool {
	g.stale, g.updated = false, now
	before := g.readiness.Settled
	next := announce.Readiness{Settled: before}
	for id, w := range g.watches {
		switch {
		case w.waits():
			next.Waits = with(next.Waits, id, w.why)
		case w.phase == waived:
			next.Waived = with(next.Waived, id, w.why)
		}
	}
	if !before && g.wanted && g.node.open {
		next = g.settle(next, now)
	}
	g.readiness = next
	return next.Settled && !before
}

// settle returns the Readiness with which an agent may start, if it may. Addresses that
// were there at first may be announced by FRR already: it is no loss to go on with them.
func (g *Gate) settle(r announce.Readiness, now time.Time) announce.Readiness {
	var old []announce.ServiceAddr
	for id := range r.Waits {
		if g.watches[id].known.IsZero() {
			old = append(old, id)
		}
	}
	if len(old) > 0 && now.Sub(g.node.opened) < settleLimit {
		return r
	}
	for _, id := range old {
		g.watches[id] = g.watches[id].waive(r.Waits[id])
		r.Waived = with(r.Waived, id, r.Waits[id])
		delete(r.Waits, id)
	}
	g.waived += uint64(len(old))
	r.Settled = true
	return r
}

func with(m map[announce.ServiceAddr]string, id announce.ServiceAddr, why string) map[announce.ServiceAddr]string {
	if m == nil {
		m = map[announce.ServiceAddr]string{}
	}
	m[id] = why
	return m
}

// Run asks until the context is canceled.
func (g *Gate) Run(ctx context.Context) error {
	g.mu.Lock()
	g.node = newNode(time.Now(), uptime())
	g.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-g.wake:
		}
		g.askNode(ctx)
		timer.Reset(g.askServices(ctx))
	}
}

// askNode asks for the health of the data plane, if that is due.
func (g *Gate) askNode(ctx context.Context) {
	g.mu.Lock()
	due := g.node.due(time.Now())
	g.mu.Unlock()
	if !due {
		return
	}
	a := g.ask.health(ctx)
	if ctx.Err() != nil {
		return
	}
	g.mu.Lock()
	now := time.Now()
	before := g.node
	g.node = g.node.next(a, now)
	after := g.node
	settled := g.update(now)
	g.mu.Unlock()
	if after.open && (!before.open || after.healthy != before.healthy) {
		if after.healthy {
			g.opts.Logger.Info("data plane healthy", "addr", g.opts.Healthz)
		} else {
			g.opts.Logger.Warn("data plane not seen to be healthy", "addr", g.opts.Healthz, "reason", after.detail)
		}
	}
	g.tell(settled, settled || after.open != before.open)
}

// tell calls what wants to know.
func (g *Gate) tell(settled, changed bool) {
	if settled {
		g.opts.Settled()
	}
	if changed {
		g.opts.Changed()
	}
}

// askServices asks about all addresses that wait, and returns when to ask again.
func (g *Gate) askServices(ctx context.Context) time.Duration {
	g.mu.Lock()
	open, hosts, now := g.node.open, slices.Clone(g.hosts), time.Now()
	var due []watch
	for _, w := range g.watches {
		if w.waits() && !now.Before(w.due) {
			due = append(due, w)
		}
	}
	g.mu.Unlock()
	if !open {
		return quick
	}
	slices.SortFunc(due, watch.compare)
	var all errgroup.Group
	all.SetLimit(parallel)
	for _, w := range due[:min(len(due), batch)] {
		all.Go(func() error {
			a := g.ask.service(ctx, w, hosts)
			if ctx.Err() == nil {
				g.answered(w, a)
			}
			return nil
		})
	}
	_ = all.Wait() // none returns an error
	return g.look()
}

// answered takes in what the data plane says of an address.
func (g *Gate) answered(asked watch, a answer) {
	id, now := asked.about.ServiceAddr, time.Now()
	g.mu.Lock()
	w, still := g.watches[id]
	if !still || !w.waits() || w.phase != asked.phase || !w.since.Equal(asked.since) {
		g.mu.Unlock()
		return // it has changed meanwhile
	}
	next, learnt := w.next(a, g.learnt, now)
	g.watches[id], g.learnt = next, learnt
	if next.phase == waived {
		g.waived++
	}
	g.stale = g.stale || next.waits() != w.waits() || next.why != w.why
	changed := g.stale && now.Sub(g.updated) >= collect
	settled := changed && g.update(now)
	g.mu.Unlock()
	if next.phase == waived {
		g.opts.Logger.Warn("announced though the data plane was not seen to serve it", "service", id.Service, "addr", id.Addr, "reason", next.why)
	}
	if next.phase == ready && trace.On(g.opts.Logger) {
		trace.Line(g.opts.Logger, trace.Serves, "service", id.Service, "addr", id.Addr, "waited", now.Sub(w.since))
	}
	g.tell(settled, changed)
}

// look looks at the time alone, and returns when to ask again.
func (g *Gate) look() time.Duration {
	g.mu.Lock()
	now := time.Now()
	changed := g.stale
	settled := g.update(now)
	next := idle
	for id := range g.readiness.Waits {
		next = min(next, max(0, g.watches[id].due.Sub(now)))
	}
	g.mu.Unlock()
	g.tell(settled, settled || changed)
	return next
}
