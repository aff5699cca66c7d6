// SPDX-License-Identifier: Apache-2.0

// Package probe finds out whether addresses of Services answer from this node.
package probe

import (
	"cmp"
	"container/heap"
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
	"github.com/heraldlb/herald/wake"
)

const (
	// parallel is how many probes are under way at a time.
	parallel = 256

	// collect is how long results are collected before they count: when a node fails there
	// are thousands at a time.
	collect = 5 * time.Millisecond

	// settleLimit is how long an agent that starts waits for results about addresses that
	// FRR may announce already.
	settleLimit = 2 * time.Second
)

// noAnswer says why an address waits.
const noAnswer = "its probe has no answer yet"

// Options configure a Prober.
type Options struct {
	Changed func()       // required: called when the Readiness has changed; it must not block
	Settled func()       // required: called once, when the Readiness is settled; it must not block
	Logger  *slog.Logger // required

	ask func(context.Context, announce.Target) result // tests: instead of the network
}

// A Prober knows which addresses of Services answer. Its methods are safe for concurrent
// use.
type Prober struct {
	opts Options
	wake wake.Signal

	mu        sync.Mutex // guards the fields below
	wanted    time.Time  // when Want was called first; zero: it was not
	targets   announce.Targets
	entries   map[announce.ProbeID]*entry
	queue     queue                       // those that are not being probed
	busy      int                         // how many are
	open      map[announce.ProbeID]bool   // neither passing nor failing, and new or there at first
	failing   map[announce.ProbeID]string // and why
	others    bool                        // it is not what the Readiness has
	readiness announce.Readiness
	updated   time.Time // when the Readiness was made
	look      time.Time // when time alone changes it; zero: not
	stale     bool      // it lacks results
	counts    status.ProbeResults
}

// New returns a Prober that has probed nothing yet.
func New(opts Options) *Prober {
	if opts.ask == nil {
		opts.ask = ask
	}
	return &Prober{
		opts: opts, wake: wake.New(),
		entries: map[announce.ProbeID]*entry{}, open: map[announce.ProbeID]bool{}, failing: map[announce.ProbeID]string{},
	}
}

// Want replaces what is probed. It does not block.
func (p *Prober) Want(targets announce.Targets) {
	now := time.Now()
	p.mu.Lock()
	first := p.wanted.IsZero()
	if first {
		p.wanted = now
	}
	changed := first
	for c := range table.Diff(p.targets, targets, slices.Equal) {
		changed = true
		var before, after []announce.Target
		if c.Before != nil {
			before = *c.Before
		}
		if c.After != nil {
			after = *c.After
		}
		p.replace(before, after, first, now)
	}
	p.targets = targets
	settled := changed && p.update(now)
	p.mu.Unlock()
	if changed {
		p.wake.Set()
	}
	if settled {
		p.opts.Settled()
	}
}

// replace replaces the targets of a Service. The caller holds mu.
func (p *Prober) replace(before, after []announce.Target, first bool, now time.Time) {
	for _, t := range after {
		if e := p.entries[t.ProbeID]; e != nil {
			e.target = t
			continue
		}
		e := &entry{record: newRecord(t, first, now)}
		p.entries[t.ProbeID], p.open[t.ProbeID] = e, true
		heap.Push(&p.queue, e)
	}
	for _, t := range before {
		if slices.ContainsFunc(after, func(o announce.Target) bool { return o.ProbeID == t.ProbeID }) {
			continue
		}
		if e := p.entries[t.ProbeID]; e.place >= 0 {
			heap.Remove(&p.queue, e.place)
		}
		delete(p.entries, t.ProbeID)
		delete(p.open, t.ProbeID)
		p.fails(t.ProbeID, "", false)
	}
}

// Readiness returns what is known. It must not be modified.
func (p *Prober) Readiness() announce.Readiness {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.readiness
}

// Status returns what is known as the report shows it; nil: nothing is probed.
func (p *Prober) Status() *status.Probes {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.entries) == 0 && p.counts == (status.ProbeResults{}) {
		return nil
	}
	out := &status.Probes{Failing: len(p.failing), Results: p.counts}
	for id := range p.open {
		if p.entries[id].state == unknown {
			out.Unknown++
		}
	}
	out.Passing = len(p.entries) - out.Failing - out.Unknown
	return out
}

// update makes the Readiness from what is known, and reports whether it is settled now and
// was not before. The caller holds mu.
func (p *Prober) update(now time.Time) bool {
	before := p.readiness
	next := announce.Readiness{Failing: before.Failing, Unknown: map[announce.ProbeID]string{}}
	if p.others {
		next.Failing, p.others = maps.Clone(p.failing), false
	}
	p.stale, p.updated, p.look = false, now, time.Time{}
	undecided := 0
	for id := range p.open {
		e := p.entries[id]
		if e.state == unknown {
			next.Unknown[id] = cmp.Or(e.why, noAnswer)
		}
		switch {
		case e.waits(now):
			if next.Waits == nil {
				next.Waits = map[announce.ServiceAddr]string{}
			}
			next.Waits[id.ServiceAddr] = noAnswer
			p.look = wake.Earlier(p.look, e.waitsUntil())
		case e.state == unknown && e.old:
			undecided++
		case e.state != unknown:
			delete(p.open, id)
		}
	}
	if maps.Equal(before.Unknown, next.Unknown) {
		next.Unknown = before.Unknown
	}
	next.Settled = before.Settled || !p.wanted.IsZero() && (undecided == 0 || now.Sub(p.wanted) >= settleLimit)
	if !next.Settled && !p.wanted.IsZero() {
		p.look = wake.Earlier(p.look, p.wanted.Add(settleLimit))
	}
	p.readiness = next
	return next.Settled && !before.Settled
}

// Run probes until the context is canceled.
func (p *Prober) Run(ctx context.Context) error {
	var all errgroup.Group
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			_ = all.Wait() // none returns an error
			return nil
		case <-timer.C:
		case <-p.wake:
		}
		due, next := p.due()
		for _, t := range due {
			all.Go(func() error {
				r := p.opts.ask(ctx, t)
				r.nobody = ctx.Err() != nil
				p.answered(t, r)
				return nil
			})
		}
		timer.Reset(next)
	}
}

// due returns what to probe now, and when to look again if nothing changes before.
func (p *Prober) due() (out []announce.Target, next time.Duration) {
	p.mu.Lock()
	now := time.Now()
	for len(p.queue) > 0 && p.busy < parallel && !now.Before(p.queue[0].due) {
		e := heap.Pop(&p.queue).(*entry)
		p.busy++
		out = append(out, e.target)
	}
	at := now.Add(time.Hour)
	if len(p.queue) > 0 && p.busy < parallel {
		at = p.queue[0].due
	}
	var settled, changed bool
	if p.stale || !p.look.IsZero() && !now.Before(p.look) {
		if soon := p.updated.Add(collect); now.Before(soon) {
			at = wake.Earlier(at, soon)
		} else {
			waits := len(p.readiness.Waits)
			changed = p.stale
			settled = p.update(now)
			changed = changed || settled || len(p.readiness.Waits) != waits
		}
	}
	if now.Before(p.look) {
		at = wake.Earlier(at, p.look)
	}
	p.mu.Unlock()
	if settled {
		p.opts.Settled()
	}
	if changed {
		p.opts.Changed()
	}
	return out, max(0, at.Sub(now))
}

// answered takes in the result of a probe.
func (p *Prober) answered(t announce.Target, r result) {
	now := time.Now()
	p.mu.Lock()
	p.busy--
	e, still := p.entries[t.ProbeID]
	var before, after record
	if still && e.place < 0 && !r.nobody {
		before, after = e.record, e.next(r, now)
		if before.state == unknown && after.state != unknown {
			after = after.spread(rand.Float64(), now) // not all at once
		}
		e.record = after
		heap.Push(&p.queue, e)
		p.count(r)
		if after.state != failing || before.state != failing {
			p.fails(t.ProbeID, after.why, after.state == failing)
		}
		p.stale = p.stale || after.state != before.state
	}
	p.mu.Unlock()
	p.wake.Set()
	if before.state == after.state {
		return
	}
	log := p.opts.Logger.With("service", t.Service, "addr", t.Addr, "probe", t.Probe.String())
	switch {
	case after.state == failing:
		log.Warn("probe fails", "reason", after.why)
	case before.state == failing:
		log.Info("probe answered again")
	}
}

// fails takes in whether a probe fails, and why. The caller holds mu.
func (p *Prober) fails(id announce.ProbeID, why string, is bool) {
	if _, did := p.failing[id]; did == is {
		return
	}
	if p.others = true; is {
		p.failing[id] = why
	} else {
		delete(p.failing, id)
	}
}

// count counts a result. The caller holds mu.
func (p *Prober) count(r result) {
	switch {
	case r.ok:
		p.counts.Answered++
	case r.tries > 0:
		p.counts.Elsewhere++
	default:
		p.counts.Failed++
	}
}

// An entry is a record in the queue.
type entry struct {
	record
	place int // in the queue; -1: it is being probed
}

// A queue has entries by when they are due.
type queue []*entry

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	e := x.(*entry)
	e.place = len(*q)
	*q = append(*q, e)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last], *q = nil, (*q)[:last]
	e.place = -1
	return e
}
