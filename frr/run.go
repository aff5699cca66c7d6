// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/frr/vty"
	"github.com/heraldlb/herald/wake"
)

const (
	// verifyAfter is the time after a change until the running configuration is read
	// back. This verifies later changes as well.
	verifyAfter = 2 * time.Second

	// probeEvery is the time between two checks whether a daemon has died without
	// removing its socket.
	probeEvery = time.Second

	// saveEvery is the shortest time between two writes of frr.conf. Routes do not wait for
	// it: FRR reads the file when it starts, and is then sent what has changed since.
	saveEvery = time.Second

	// firstRetry and lastRetry limit the time between two attempts at a target that
	// is absent. It doubles each time.
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second

	// rejectedRetry and lastRejectedRetry do the same for a text of which FRR refuses
	// a line. A retry helps only if somebody else has changed FRR's configuration.
	rejectedRetry     = 2 * time.Second
	lastRejectedRetry = time.Minute
)

// Run puts what Set declares in force, and keeps it in force, until ctx ends; then
// it returns nil. It retries while a daemon is absent or hangs, applies everything
// again when a daemon restarts, and repairs what somebody else changed. FRR keeps
// its configuration when Run ends. Run must not be called twice.
func (a *Applier) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.watch(ctx) })
	for _, w := range a.workers {
		g.Go(func() error {
			a.work(ctx, w)
			return nil
		})
	}
	return g.Wait()
}

// A worker drives one target.
type worker struct {
	target
	wake      wake.Signal   // another text is wanted
	restarted wake.Signal   // the daemon may have restarted
	every     time.Duration // the shortest time between two changes
}

func newWorker(t target) *worker {
	return &worker{target: t, wake: wake.New(), restarted: wake.New()}
}

// finish puts in force what has waited when ctx ends.
func (a *Applier) finish(ctx context.Context, w *worker, waits bool) {
	select {
	case <-w.wake:
		waits = w.every > 0
	default:
	}
	if want := a.current(); waits && want != nil {
		a.attempt(context.WithoutCancel(ctx), w.target, want, false)
	}
}

// work is the loop of one worker.
func (a *Applier) work(ctx context.Context, w *worker) {
	retry := time.NewTimer(time.Hour)
	retry.Stop()
	check := time.NewTimer(a.opts.Drift)
	probe := time.NewTicker(probeEvery)
	defer retry.Stop()
	defer check.Stop()
	defer probe.Stop()

	failures := 0
	unverified := false // a check is due for a change, not only for drift
	missed := false     // a check failed; the next success makes one due
	waits := false      // another text is wanted, and it is too early for it
	var last time.Time  // of the last change
	for {
		verify := false
		select {
		case <-ctx.Done():
			a.finish(ctx, w, waits)
			return
		case <-w.wake:
			if early := w.every - time.Since(last); early > 0 {
				waits = true
				retry.Reset(early)
				continue
			}
		case <-retry.C:
		case <-w.restarted:
			w.restart(ctx)
		case <-check.C:
			verify = true
		case <-probe.C:
			if !w.lost(ctx) {
				continue
			}
			w.restart(ctx)
		}
		want := a.current()
		if want == nil {
			continue
		}
		changed, err := a.attempt(ctx, w.target, want, verify)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			if failures == 0 {
				a.opts.Logger.Warn("configuration not applied", "target", w.id(), "err", err)
			}
			retry.Reset(backoff(failures, err))
			failures++
			missed = missed || verify
			continue
		}
		if failures > 0 {
			a.opts.Logger.Info("configuration applied", "target", w.id())
		}
		failures, waits = 0, false
		if changed {
			last = time.Now()
		}
		retry.Stop()
		switch {
		case verify && !changed:
			unverified = false
			check.Reset(a.opts.Drift)
		case missed || changed && (verify || !unverified):
			unverified, missed = true, false
			check.Reset(min(verifyAfter, a.opts.Drift))
		}
	}
}

// backoff returns how long to wait after a number of failures in a row.
func backoff(failures int, err error) time.Duration {
	first, last := firstRetry, lastRetry
	if errors.Is(err, vty.ErrRejected) && !errors.Is(err, vty.ErrUnavailable) {
		first, last = rejectedRetry, lastRejectedRetry
	}
	return min(first<<min(failures, 10), last)
}

// current returns the wanted configuration; nil before the first Set.
func (a *Applier) current() *wanted {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.wanted
}
