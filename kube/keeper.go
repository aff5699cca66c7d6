// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/util/workqueue"

	"github.com/heraldlb/herald/wake"
)

const (
	// fieldManager and agentManager are the field managers of what Herald writes.
	fieldManager = "herald-controller"
	agentManager = "herald-agent"
	// requestTimeout is how long one request may take.
	requestTimeout = 10 * time.Second
	// The first and the longest wait after the API server refused a write.
	minRetry, maxRetry = 50 * time.Millisecond, 30 * time.Second
	// failedShare is how many times as long as a failed write took the next one to the
	// object waits at least.
	failedShare = 10
	// statusRound is how often a keeper of statuses looks at its objects at most, so
	// that a burst of Services does not write the counters of a pool all the time.
	statusRound = time.Second
	// keeperRest is how often a keeper looks at its objects if nothing wakes it.
	keeperRest = 30 * time.Second
	// createdSeen is how long an object that was created may take to be seen. After
	// that it counts as deleted.
	createdSeen = 5 * time.Second
)

// A keeper makes objects in the API server as they are wanted, and keeps them so.
// It is level-triggered: it compares objects with what is wanted whenever either
// may have changed, and sends a request only if they differ.
//
// It writes onto each version of an object once. What came of a write is seen in
// the next version, so that an API server that drops a field is not asked again.
// It holds back writes that another writer keeps undoing. A write that fails is
// tried again, less and less often, and after the objects whose writes did not fail:
// an object that the API server refuses holds up no other.
type keeper[K comparable, W any] struct {
	opts  keeperOptions[K, W]
	poke  wake.Signal
	hurry wake.Signal // the next round does not wait for Every
	retry workqueue.TypedRateLimiter[K]

	mu     sync.Mutex // guards the fields below
	wanted map[K]W
	kept   map[K]kept      // of objects that are wanted or there, as far as there is something to remember
	failed string          // the last error that was logged; empty: the last write succeeded
	all    bool            // the next round looks at all objects
	dirty  map[K]bool      // or at these
	later  map[K]time.Time // when to look at objects though nothing changes
	due    time.Time       // when timer wakes it; zero: not at all
	timer  *time.Timer
}

// keeperOptions say what a keeper writes.
type keeperOptions[K comparable, W any] struct {
	Contests *Contests        // required
	Logger   *slog.Logger     // required
	Failed   string           // required: the log's message about a write that failed
	Compare  func(a, b K) int // required: the order in which a round looks at objects

	// Diff returns the request that makes an object as it is wanted; nil if it is
	// so, or if that is not known yet. It also returns when to look again though
	// nothing changes; 0: there is no need. Wanted is nil for an object that is not.
	Diff func(key K, wanted *W, now time.Time) (r *request, again time.Duration) // required

	// Update is optional. It is called in each round instead of Set, and returns what has
	// become of what is wanted since the last round; nil: it is not wanted any more. As long
	// as nothing is known, nothing is written.
	Update func(ctx context.Context) (changes map[K]*W, known bool, err error)

	Client  *Client       // optional: what objects are read with
	There   func() []K    // optional: objects that are there, though they may not be wanted
	Every   time.Duration // optional: the shortest time between two rounds
	Settle  time.Duration // optional: how long a round waits for what changes at the same time
	Workers int           // optional: how many requests run at a time, besides those of Later; 0: one, with a pause after each

	// Later is optional. It returns true for what routes do not wait for. Such objects, and
	// those whose writes failed, have workers of their own, who pause while the API server is
	// busy, and who begin nothing while others wait.
	Later func(wanted W) bool
}

func newKeeper[K comparable, W any](opts keeperOptions[K, W]) *keeper[K, W] {
	return &keeper[K, W]{
		opts: opts, poke: wake.New(), hurry: wake.New(), kept: map[K]kept{}, dirty: map[K]bool{}, later: map[K]time.Time{},
		retry: workqueue.NewTypedItemExponentialFailureRateLimiter[K](max(minRetry, opts.Every), maxRetry),
	}
}

// Set replaces what is wanted. It does not wait for anything to be written. What
// is not wanted any more, and was not written yet, never is.
func (k *keeper[K, W]) Set(wanted map[K]W) {
	k.mu.Lock()
	k.wanted = wanted
	k.mu.Unlock()
	k.Wake()
}

// Change replaces what is wanted of some objects; nil: one is not wanted any more. Of the
// others the same is wanted as before. It does not wait for anything to be written.
func (k *keeper[K, W]) Change(wanted map[K]*W) {
	if len(wanted) > 0 {
		k.update(wanted)
		k.poke.Set()
	}
}

// Wake has all objects looked at, as one of them may have changed. It does not
// block.
func (k *keeper[K, W]) Wake() {
	k.lookAtAll()
	k.poke.Set()
}

// Update has a round find out what is wanted now, and look at what has changed. It does not
// block.
func (k *keeper[K, W]) Update() { k.poke.Set() }

// Hurry has the next round begin at once, even if the last one has just ended.
func (k *keeper[K, W]) Hurry() { k.hurry.Set() }

// Changed has an object looked at, as it may have changed. It does not block.
func (k *keeper[K, W]) Changed(key K) {
	k.mu.Lock()
	k.dirty[key] = true
	k.mu.Unlock()
	k.poke.Set()
}

// Run writes until the context is canceled, and then forgets what is wanted. It
// may be called again, but not twice at a time.
func (k *keeper[K, W]) Run(ctx context.Context) error {
	k.mu.Lock()
	k.kept, k.all = map[K]kept{}, true
	if k.wanted != nil {
		k.poke.Set()
	}
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		k.wanted, k.later = nil, map[K]time.Time{}
		k.stopTimer()
		k.mu.Unlock()
	}()
	q := newQueue(k.isLater)
	stop := context.AfterFunc(ctx, q.End)
	defer stop()
	var g errgroup.Group
	g.Go(func() error {
		k.rounds(ctx, q)
		return nil
	})
	work := func(workers int, from lane, pace func(start time.Time) time.Duration) {
		for range workers {
			g.Go(func() error {
				k.work(ctx, q, from, pace)
				return nil
			})
		}
	}
	if k.opts.Workers > 0 {
		work(k.opts.Workers, urgent, nil)
	} else {
		work(1, urgent, yield)
	}
	if k.opts.Later != nil {
		work(easyWriters, later, ease)
	}
	return g.Wait()
}

// forget has nothing be wanted.
func (k *keeper[K, W]) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wanted, k.dirty = nil, map[K]bool{}
}

// isLater reports whether other objects go before this one: those whose writes did not
// fail, and those that are wanted.
func (k *keeper[K, W]) isLater(key K) bool {
	if k.opts.Later == nil {
		return false
	}
	w, ok := k.want(key)
	return !ok || k.opts.Later(w) || k.retry.NumRequeues(key) > 0
}

// want returns what is wanted of an object, and whether anything is.
func (k *keeper[K, W]) want(key K) (W, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	w, ok := k.wanted[key]
	return w, ok
}
