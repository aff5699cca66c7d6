// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/heraldlb/herald/frr/contract"
)

// lookEvery is the longest time between two looks for a sign of life of the agent.
const lookEvery = time.Second

type agentWatchOptions struct {
	Dir      string              // required: the folder shared with the agent
	Timeout  time.Duration       // required: 0 means that the agent may be away for ever
	Withdraw func(withdraw bool) // required: called when the agent is missed, and when it is back
	Logger   *slog.Logger        // required
}

// An agentWatch withdraws all routes while no agent is there: nobody would take
// away those of a Service that is gone.
type agentWatch struct {
	opts agentWatchOptions

	mu   sync.Mutex // guards the fields below
	beat time.Time  // the last sign of life, as the agent dated it
	seen time.Time  // when it was noticed, by this process's own clock
	gone bool       // the agent is missed
}

func newAgentWatch(opts agentWatchOptions) *agentWatch { return &agentWatch{opts: opts} }

// run looks for signs of life until ctx ends.
func (w *agentWatch) run(ctx context.Context) error {
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

// begin looks for the first time, before bgpd is started. The agent has the whole
// timeout if it never was there, and what is left of it if it was.
func (w *agentWatch) begin() {
	w.recall()
	w.look()
}

// recall finds the sign of life that was left before this process was started.
// Its age is by the clock: if that was put forward since, the agent is missed until
// its next sign of life, contract.HeartbeatInterval later at most.
func (w *agentWatch) recall() {
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

// look compares the last sign of life with the one before. Only whether it is
// another one counts, so that a clock that is set changes nothing.
func (w *agentWatch) look() {
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
		w.opts.Logger.Info("agent is back")
	}
	w.opts.Withdraw(gone)
}

// missed reports whether the agent is away for too long.
func (w *agentWatch) missed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gone
}
