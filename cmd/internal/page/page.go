// SPDX-License-Identifier: Apache-2.0

// Package page serves a Topology to people: as a web page that follows its changes, and as
// JSON. It makes a Topology only while somebody looks.
package page

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/heraldlb/herald/topology"
)

const (
	// pause is the least time between two Topologies.
	pause = time.Second
	// restFactor is how much longer the page rests than it takes to make a Topology, so
	// that it costs a fifth of a core at most.
	restFactor = 4
	// maxRest bounds the rest: a busy machine takes long.
	maxRest = 10 * time.Second
	// maxAge is how old a Topology is at most that somebody is shown. Nothing wakes the
	// page when time alone changes something.
	maxAge = 15 * time.Second
	// forgetAfter is how long a Topology is kept that nobody looks at.
	forgetAfter = time.Minute
)

// errUnread is the error while the controller starts.
var errUnread = errors.New("the controller has not read everything yet")

// Options are what a Page works with.
type Options struct {
	// Input is required: it returns what is known now, and whether everything was read. It
	// is called by one goroutine.
	Input   func(now time.Time) (topology.Input, bool)
	Pod     string       // required: of this controller
	Version string       // required
	Logger  *slog.Logger // required
}

// A Page makes Topologies and hands them out.
type Page struct {
	opts  Options
	epoch string        // of the IDs of changes: another one in each process
	ask   chan struct{} // holds one element if run has something to do
	turn  chan struct{} // holds one element while a request is answered that takes time

	failing map[string]time.Time // see compare; run's

	mu        sync.Mutex // guards the fields below
	shown     *view      // the newest; nil: nobody has looked for a while
	err       error      // why there is none
	dirty     bool       // something has changed since shown was made
	waiting   bool       // somebody waits for the next one
	listeners int
	looked    time.Time     // when somebody was shown something, or waited for it
	made      chan struct{} // closed when the next one is made
	history   history
}

// New returns a Page that makes nothing until it runs.
func New(opts Options) *Page {
	return &Page{opts: opts, epoch: newEpoch(), ask: make(chan struct{}, 1), turn: make(chan struct{}, 1), failing: map[string]time.Time{}, made: make(chan struct{})}
}

// Wake says that something may have changed. It does not block.
func (p *Page) Wake() {
	p.mu.Lock()
	p.dirty = true
	watched := p.listeners > 0
	p.mu.Unlock()
	if watched {
		p.nudge()
	}
}

func (p *Page) nudge() {
	select {
	case p.ask <- struct{}{}:
	default:
	}
}

// Run makes Topologies until the context is canceled.
func (p *Page) Run(ctx context.Context) error {
	var rested time.Time // when the next one may be made
	timer := time.NewTimer(maxAge)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.ask:
		case <-timer.C:
		}
		now := time.Now()
		switch {
		case !p.due(now):
			timer.Reset(maxAge)
		case now.Before(rested):
			timer.Reset(rested.Sub(now))
		default:
			p.make(now)
			took := time.Since(now)
			p.opts.Logger.Debug("topology made", "took", took)
			rested = now.Add(took + min(max(restFactor*took, pause), maxRest))
			timer.Reset(maxAge)
		}
	}
}

// due reports whether a Topology is to be made. It forgets one that nobody looks at.
func (p *Page) due(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listeners == 0 && !p.waiting && now.Sub(p.looked) >= forgetAfter {
		p.shown = nil
		clear(p.failing) // what is not looked at may work again
	}
	return p.waiting || p.listeners > 0 && (p.dirty || p.shown == nil || now.Sub(p.shown.made) >= maxAge)
}

// make makes a Topology, and shows it.
func (p *Page) make(now time.Time) {
	p.mu.Lock()
	p.dirty, p.waiting = false, false // what comes from here on may be missing
	last := p.shown
	p.mu.Unlock()

	next, err := (*view)(nil), error(nil)
	var changes []Change
	if in, read := p.opts.Input(now); !read {
		err = errUnread
	} else if next, err = newView(topology.Build(in), now); err == nil && last != nil {
		if next.etag == last.etag {
			next.topology.At, next.zipped = last.topology.At, last.zipped // since then it is so
		} else {
			changes = compare(last.topology, next.topology, p.failing)
		}
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	p.shown, p.err = next, err
	p.history.add(changes)
	close(p.made)
	p.made = make(chan struct{})
}

// view returns a Topology that shows what was known when it was called, or a second earlier.
func (p *Page) view(ctx context.Context) (*view, error) {
	for first := true; ; first = false {
		p.mu.Lock()
		now := time.Now()
		p.looked = now
		if !first && p.err != nil {
			defer p.mu.Unlock()
			return nil, p.err
		}
		if v := p.shown; v != nil && (!first || now.Sub(v.made) < pause || !p.dirty && now.Sub(v.made) < maxAge) {
			p.mu.Unlock()
			return v, nil
		}
		p.waiting = true
		made := p.made
		p.mu.Unlock()
		p.nudge()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-made:
		}
	}
}
