// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"sync"
	"time"
)

// troubleDelay is how long FRR must refuse a configuration, or not answer, before
// an agent says so: when it restarts, that is over sooner.
const troubleDelay = 5 * time.Second

// A Running says how far FRR runs the text that it was given last.
type Running struct {
	Applied bool
	Trouble string // why not; empty if it is on its way
}

// ProgressOptions are what a Progress works with.
type ProgressOptions struct {
	Writer  StateWriter    // required
	Running func() Running // required: must not block
}

// A Progress is a StateWriter that holds back the version of a configuration until
// FRR runs what follows from it. Its methods are safe for concurrent use.
type Progress struct {
	opts ProgressOptions

	mu      sync.Mutex // guards the fields below
	wanted  *State     // nil: nothing was said yet
	inForce string     // the version that FRR runs
	since   time.Time  // when the trouble began; zero: there is none
	timer   *time.Timer
}

var _ StateWriter = (*Progress)(nil)

// NewProgress returns a Progress. It starts nothing.
func NewProgress(opts ProgressOptions) *Progress { return &Progress{opts: opts} }

// Set replaces what there is to say, after FRR was given what follows from it.
func (p *Progress) Set(s State) {
	p.mu.Lock()
	p.wanted = &s
	p.mu.Unlock()
	p.Changed()
}

// Changed says that FRR may have come further. It does not block.
func (p *Progress) Changed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wanted == nil {
		return
	}
	s, running := *p.wanted, p.opts.Running()
	if s.Trouble == "" {
		s.Trouble = running.Trouble
		if running.Applied {
			s.Trouble, p.inForce = "", s.Version
		}
	}
	s.Version = p.inForce
	s.Trouble = p.lasting(s.Trouble, time.Now())
	// With the lock held, so that an older State does not come last.
	p.opts.Writer.Set(s)
}

// lasting returns a trouble once it has lasted, and sees to it that it is asked for
// again.
func (p *Progress) lasting(trouble string, now time.Time) string {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	if trouble == "" {
		p.since = time.Time{}
		return ""
	}
	if p.since.IsZero() {
		p.since = now
	}
	if left := troubleDelay - now.Sub(p.since); left > 0 {
		p.timer = time.AfterFunc(left, p.Changed)
		return ""
	}
	return trouble
}

// Run writes until the context is canceled.
func (p *Progress) Run(ctx context.Context) error {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.wanted = nil
		p.lasting("", time.Time{})
	}()
	return p.opts.Writer.Run(ctx)
}
