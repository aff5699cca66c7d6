// SPDX-License-Identifier: Apache-2.0

package sidecar

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/heraldlb/herald/frr/contract"
)

// lookEvery is the time between two looks for the agent's heartbeat.
const lookEvery = time.Second

// AgentWatchOptions are what an AgentWatch works with.
type AgentWatchOptions struct {
	Dir      string              // required: the folder shared with the agent
	Timeout  time.Duration       // required: 0 lets the agent be away for ever
	Withdraw func(withdraw bool) // required: called when the agent is gone, and when it is back
	Logger   *slog.Logger        // required
}

// An AgentWatch withdraws all routes while no agent is alive: routes of a Service
// that is deleted would stay otherwise.
type AgentWatch struct {
	opts AgentWatchOptions

	mu   sync.Mutex // guards the fields below
	beat time.Time  // the last heartbeat, as the agent dated it
	seen time.Time  // when it was noticed, by this process's own clock
	gone bool       // the last heartbeat is too old
}

// NewAgentWatch returns an AgentWatch. Begin has it look for the first time.
func NewAgentWatch(opts AgentWatchOptions) *AgentWatch { return &AgentWatch{opts: opts} }

// Run looks for heartbeats until ctx ends.
func (w *AgentWatch) Run(ctx context.Context) error {
	every := time.NewTicker(lookEvery)
	defer every.Stop()
	for {
		w.look()
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

// Begin looks for the first time; call it before bgpd is started. An agent that has
// never run has the whole timeout, another one what is left of it.
func (w *AgentWatch) Begin() {
	w.recall()
	w.look()
}

// recall reads the heartbeat from before this process was started. The clock gives
// its age: if the clock was put forward since, the agent counts as gone until its
// next heartbeat, contract.HeartbeatInterval later at most.
func (w *AgentWatch) recall() {
	now := time.Now()
	beat, err := contract.LastBeat(w.opts.Dir)
	if err != nil || beat.IsZero() || beat.After(now) {
		beat = time.Time{}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = now
	if !beat.IsZero() {
		w.beat = beat
		w.seen = now.Add(-now.Sub(beat))
	}
}

// look compares the last heartbeat with the one before. Only a difference counts,
// not the time itself, so that setting the clock changes nothing.
func (w *AgentWatch) look() {
	if w.opts.Timeout == 0 {
		return
	}
	beat, err := contract.LastBeat(w.opts.Dir)
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if err == nil && !beat.IsZero() && !beat.Equal(w.beat) {
		w.beat, w.seen = beat, now
	}
	gone := now.Sub(w.seen) > w.opts.Timeout
	if gone == w.gone {
		return
	}
	w.gone = gone
	if gone {
		w.opts.Logger.Error("no agent: all routes withdrawn", "timeout", w.opts.Timeout)
	} else {
		w.opts.Logger.Info("agent is back: routes announced again")
	}
	w.opts.Withdraw(gone)
}

// Withdrawn reports whether all routes are withdrawn because the agent is gone.
func (w *AgentWatch) Withdrawn() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gone
}
