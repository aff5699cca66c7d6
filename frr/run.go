// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/frr/conf"
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

	// startTime is how long a daemon may take to start that FRR's container runs only
	// while the configuration needs it. Until then it is on its way, not absent.
	startTime = 2 * time.Second
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
	hurry     wake.Signal   // a route comes in a moment
	every     time.Duration // the shortest time between two changes
	since     time.Time     // when a daemon that is on its way was first missed; of Run
}

func newWorker(t target) *worker {
	return &worker{target: t, wake: wake.New(), restarted: wake.New(), hurry: wake.New()}
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
	hurry := time.NewTimer(time.Hour)
	hurry.Stop()
	defer hurry.Stop()
	defer retry.Stop()
	defer check.Stop()
	defer probe.Stop()

	a.find(ctx, w)
	failures := 0
	warned := false
	unverified := false // a check is due for a change, not only for drift
	missed := false     // a check failed; the next success makes one due
	waits := false      // another text is wanted, and it is too early for it
	var last time.Time  // of the last change
	var late time.Time  // when a change is no longer expected
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
		case <-w.hurry:
			late = time.Now().Add(hurryFor)
			hurry.Reset(0)
			continue
		case <-hurry.C:
			if time.Now().After(late) {
				continue
			}
			if a.hurry(ctx, w) {
				hurry.Reset(hurryAgain)
				continue
			}
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
		changed, r := a.attempt(ctx, w.target, want, verify)
		if ctx.Err() != nil {
			return
		}
		starting := a.starting(w, r)
		if !starting {
			a.report(w.id(), r)
		}
		if r.err != nil {
			if !starting && !warned {
				warned = true
				a.opts.Logger.Warn("configuration not applied", "target", w.id(), "err", r.err)
			}
			retry.Reset(backoff(failures, r.err))
			failures++
			missed = missed || verify
			continue
		}
		if warned {
			a.opts.Logger.Info("configuration applied", "target", w.id())
		}
		failures, warned, waits = 0, false, false
		if changed {
			last = time.Now()
			hurry.Stop()
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

// hurry has bgpd process a route once more. It reports whether there is nothing else to do.
func (a *Applier) hurry(ctx context.Context, w *worker) bool {
	ctx, cancel := context.WithTimeout(ctx, a.opts.Timeout)
	defer cancel()
	d, ok := w.target.(*daemon)
	return !ok || d.hurry(ctx)
}

// starting reports whether a result is that of a daemon which was not needed before, and
// which FRR's container may be about to start.
func (a *Applier) starting(w *worker, r result) bool {
	if !r.needed || !errors.Is(r.err, vty.ErrUnavailable) || !slices.Contains(conf.OnDemand, w.id()) || a.needs(w.id()) {
		w.since = time.Time{}
		return false
	}
	if w.since.IsZero() {
		w.since = time.Now()
	}
	return time.Since(w.since) < startTime
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
