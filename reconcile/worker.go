// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	// passInterval is the shortest time from the start of one pass to the start of
	// the next, on average. After a quiet time, passBurst passes may follow each other at
	// once: a new Service comes as two or three events.
	passInterval = 10 * time.Millisecond
	passBurst    = 3
	// soon is how long WakeSoon waits: after an edit of the configuration a thousand
	// agents report within seconds.
	soon = 100 * time.Millisecond
)

// A Worker runs passes, one at a time. The first wakes after quiet start one each at
// once; those that come while it runs are answered together by one more.
type Worker struct {
	wake chan struct{} // holds a token while a pass is due
	soon atomic.Bool   // WakeSoon was called, and has not woken it yet
}

// NewWorker returns a Worker with no pass due.
func NewWorker() *Worker { return &Worker{wake: make(chan struct{}, 1)} }

// Wake asks for a pass that sees everything that was there before the call. It
// never blocks, and any goroutine may call it.
func (w *Worker) Wake() {
	select {
	case w.wake <- struct{}{}:
	default: // one is due already
	}
}

// WakeSoon asks for the same within a moment, so that many changes which are not urgent
// cause few passes. It never blocks, and any goroutine may call it.
func (w *Worker) WakeSoon() {
	if w.soon.Swap(true) {
		return
	}
	time.AfterFunc(soon, func() {
		w.soon.Store(false)
		w.Wake()
	})
}

// Run runs a pass after each Wake, until the context is canceled.
func (w *Worker) Run(ctx context.Context, pass func()) error {
	var booked time.Time // until when passes have used up the time that they may have
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
		}
		if now := time.Now(); booked.Before(now) {
			booked = now
		}
		booked = booked.Add(passInterval)
		pass()
		next := time.NewTimer(time.Until(booked.Add((1 - passBurst) * passInterval)))
		select {
		case <-ctx.Done():
			next.Stop()
			return nil
		case <-next.C:
		}
	}
}
