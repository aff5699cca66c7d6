// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"sync"
	"time"

	"github.com/heraldlb/herald/cluster"
)

// troubleDelay is how long FRR must refuse a configuration, or not answer, before an agent
// reports it. A restart of FRR is over sooner.
const troubleDelay = 5 * time.Second

// A Running is whether FRR runs the text that it was given last.
type Running struct {
	Applied bool
	Trouble string // why not; empty if it is on its way
}

// AppliedStateOptions are what an AppliedState works with.
type AppliedStateOptions struct {
	Writer StateWriter    // required
	FRR    func() Running // required: must not block
}

// An AppliedState is a StateWriter for an agent: it holds back the version of a
// configuration until FRR runs what follows from it. Its methods are safe for
// concurrent use.
type AppliedState struct {
	opts AppliedStateOptions

	mu      sync.Mutex // guards the fields below
	wanted  *State     // newest of Set; nil: there was none
	reports *State     // Version, Failed and Failure that go to the Writer; nil: not known yet
	trying  string     // the version that FRR has trouble with
	trouble time.Time  // since when; zero: there is none

	sessions []cluster.SessionState // nil: not known yet
}

var _ StateWriter = (*AppliedState)(nil)

// NewAppliedState returns an AppliedState. It starts nothing.
func NewAppliedState(opts AppliedStateOptions) *AppliedState { return &AppliedState{opts: opts} }

// Set replaces the State, after FRR was given the configuration. The State's Failure is
// why FRR was not given it.
func (p *AppliedState) Set(s State) {
	p.mu.Lock()
	p.wanted = &s
	p.mu.Unlock()
	p.Changed()
}

// SetSessions replaces the states of the node's BGP sessions. It does not block.
func (p *AppliedState) SetSessions(sessions []cluster.SessionState) {
	p.mu.Lock()
	p.sessions = sessions
	p.mu.Unlock()
	p.Changed()
}

// Changed looks at FRR again: its Running may have changed. It does not block.
func (p *AppliedState) Changed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wanted == nil {
		return
	}
	s, now := *p.wanted, time.Now()
	s.Sessions = p.sessions
	if !s.Known {
		p.opts.Writer.Set(s) // FRR is given nothing
		return
	}
	frr := p.opts.FRR()
	if s.Failure != "" {
		frr = Running{Trouble: s.Failure}
	}
	switch {
	case frr.Applied:
		p.reports, p.trouble = &State{Version: s.Version}, time.Time{}
	case frr.Trouble == "":
		p.trouble = time.Time{}
	case p.trouble.IsZero() || p.trying != s.Version:
		p.trying, p.trouble = s.Version, now
		time.AfterFunc(troubleDelay, p.Changed)
	case now.Sub(p.trouble) >= troubleDelay:
		if p.reports == nil {
			p.reports = &State{}
		}
		p.reports.Failed, p.reports.Failure = s.Version, frr.Trouble
	}
	if p.reports == nil {
		return // the report of an agent before this one may still be right
	}
	s.Version, s.Failed, s.Failure = p.reports.Version, p.reports.Failed, p.reports.Failure
	// The lock keeps an older State from being written last.
	p.opts.Writer.Set(s)
}

// Run writes until the context is canceled.
func (p *AppliedState) Run(ctx context.Context) error { return p.opts.Writer.Run(ctx) }
