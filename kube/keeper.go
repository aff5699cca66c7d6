// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	Workers int           // optional: how many requests run at a time; 0: one, with a pause after each

	// Later is optional. Where it returns true for what is wanted of an object, other objects
	// go before that one, and a busy API server has a pause after it.
	Later func(wanted W) bool
}

// A request makes an object as it is wanted.
type request struct {
	about   subject // whose writes others may undo; zero: nobody does
	version string  // the version of the object that it was made for; empty: there is none
	has     string  // what Herald's fields of that version say
	want    string  // what they are to say, without times

	send func(ctx context.Context) (result, error)
	sent func() // optional: called after it succeeded
}

// A result is what became of an object.
type result struct {
	version string // empty: it is gone, or it is not known
	has     string // what Herald's fields say
}

// A kept is what a keeper remembers of an object.
type kept struct {
	written time.Time // the last time; zero: never
	version string    // that the last write left behind
	want    string    // of the request that did so
	seen    bool      // the object was seen since it was created
	restore uint64    // how often etcd was found restored before the write

	failed  attempt   // the last write, if it failed
	failure string    // why; it was logged
	retry   time.Time // when to try that again; zero: the last write succeeded
}

// An attempt is a write of a text onto a version of an object.
type attempt struct{ version, want string }

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
	k.mu.Lock()
	k.all = true
	k.mu.Unlock()
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
	// It gives an object to one worker at a time.
	q := workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[K]{Queue: &lanes[K]{isLater: k.isLater}})
	stop := context.AfterFunc(ctx, q.ShutDown)
	defer stop()
	var g errgroup.Group
	g.Go(func() error {
		k.rounds(ctx, q)
		return nil
	})
	for range max(1, k.opts.Workers) {
		g.Go(func() error {
			for {
				key, closed := q.Get()
				if closed {
					return nil
				}
				k.look(ctx, key)
				q.Done(key)
			}
		})
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

// rest pauses after a request for an object.
func (k *keeper[K, W]) rest(ctx context.Context, key K, start time.Time) {
	switch {
	case k.opts.Workers == 0:
		pause(ctx, yield(start))
	case k.isLater(key):
		pause(ctx, ease(start))
	}
}

// rounds has all objects looked at whenever something changes.
func (k *keeper[K, W]) rounds(ctx context.Context, q workqueue.TypedInterface[K]) {
	rest := time.NewTicker(keeperRest)
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.poke:
		case <-rest.C:
			k.mu.Lock()
			k.all = true
			k.mu.Unlock()
		}
		if k.opts.Settle > 0 {
			if !pause(ctx, k.opts.Settle) {
				return
			}
			select {
			case <-k.poke: // this round sees what woke it meanwhile
			default:
			}
		}
		if err := k.round(ctx, q); err != nil && ctx.Err() == nil {
			k.complain(err)
			k.poke.Set()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(k.opts.Every - k.opts.Settle):
		case <-k.hurry:
		}
	}
}

// round has those objects looked at that may have changed.
func (k *keeper[K, W]) round(ctx context.Context, q workqueue.TypedInterface[K]) error {
	if k.opts.Update != nil {
		changes, known, err := k.opts.Update(ctx)
		if err != nil || !known {
			return err
		}
		k.update(changes)
	}
	keys, all := k.turn(time.Now())
	if all && k.opts.There != nil {
		for _, key := range k.opts.There() {
			keys[key] = true
		}
	}
	var again []K
	for _, key := range slices.SortedFunc(maps.Keys(keys), k.opts.Compare) {
		if k.retry.NumRequeues(key) > 0 {
			again = append(again, key)
			continue
		}
		q.Add(key)
	}
	for _, key := range again {
		q.Add(key)
	}
	return nil
}

// update takes in what has become of what is wanted.
func (k *keeper[K, W]) update(changes map[K]*W) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.wanted == nil {
		k.wanted = map[K]W{}
	}
	for key, want := range changes {
		k.dirty[key] = true
		if want == nil {
			delete(k.wanted, key)
		} else {
			k.wanted[key] = *want
		}
	}
}

// turn returns the objects to look at now, and whether these are all that are known.
func (k *keeper[K, W]) turn(now time.Time) (keys map[K]bool, all bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopTimer()
	k.due, keys, all = time.Time{}, k.dirty, k.all
	k.dirty, k.all = map[K]bool{}, false
	if all {
		clear(k.later) // each is looked at now
		for key := range k.wanted {
			keys[key] = true
		}
		for key := range k.kept {
			keys[key] = true
		}
		return keys, true
	}
	for key, at := range k.later {
		if at.After(now) {
			k.wakeBy(at)
			continue
		}
		keys[key] = true
		delete(k.later, key)
	}
	return keys, false
}

// look compares an object with what is wanted, and writes it if they differ.
func (k *keeper[K, W]) look(ctx context.Context, key K) {
	now := time.Now()
	k.mu.Lock()
	last := k.kept[key]
	wanted, ok := k.wanted[key]
	k.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	want := &wanted
	if !ok {
		want = nil
	}
	restored := k.opts.Client.restores() // before rows are read, which change first
	r, again := k.opts.Diff(key, want, now)
	if r == nil {
		k.retry.Forget(key)
	}
	last.seen = last.seen || r == nil || r.version != ""
	// One that is as it should be, and that this process never wrote, is found without.
	found := k.opts.There != nil && r == nil && last.written.IsZero()
	k.remember(key, last, !found && (want != nil || r != nil))
	if r != nil && !last.dealtWith(*r, restored) {
		if last.failed == (attempt{r.version, r.want}) && now.Before(last.retry) {
			k.wakeAt(key, last.retry)
			return
		}
		if again = k.hold(last, *r, now); again == 0 {
			k.write(ctx, key, last, *r, restored)
			return
		}
	}
	if again > 0 {
		k.wakeAt(key, now.Add(again))
	}
}

// wakeAt has an object looked at at a time, if it is not before.
func (k *keeper[K, W]) wakeAt(key K, at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.later[key] = wake.Earlier(k.later[key], at)
	k.wakeBy(at)
}

// wakeBy wakes the keeper at a time, if it is not woken before. The caller holds mu.
func (k *keeper[K, W]) wakeBy(at time.Time) {
	if k.due = wake.Earlier(k.due, at); k.due.Equal(at) {
		k.stopTimer()
		k.timer = time.AfterFunc(time.Until(at), k.poke.Set)
	}
}

func (k *keeper[K, W]) stopTimer() {
	if k.timer != nil {
		k.timer.Stop()
	}
}

// hold returns how long to wait before a request is sent; 0: not at all.
func (k *keeper[K, W]) hold(last kept, r request, now time.Time) time.Duration {
	if r.version == "" && !last.written.IsZero() && !last.seen {
		return max(0, createdSeen-now.Sub(last.written))
	}
	if r.about == (subject{}) {
		return 0
	}
	return k.opts.Contests.hold(r.about, r.version, r.has)
}

// dealtWith reports whether a request need not be sent: it is for a version that was
// written onto, or that a write has left behind which wanted the same.
func (l kept) dealtWith(r request, restored uint64) bool {
	if r.version == "" || l.version == "" || l.restore != restored {
		return false
	}
	return !newer(l.version, r.version) && (l.version != r.version || l.want == r.want)
}

// write sends a request.
func (k *keeper[K, W]) write(ctx context.Context, key K, last kept, r request, restored uint64) {
	start := time.Now()
	timed, cancel := context.WithTimeout(ctx, requestTimeout)
	now, err := r.send(timed)
	cancel()
	if ctx.Err() != nil {
		return // the next leader sees what came of it
	}
	refused := err != nil
	if r.version != "" && (apierrors.IsConflict(err) || apierrors.IsNotFound(err)) {
		err = nil // there is a newer version, or none at all
	}
	if err != nil {
		if r.about != (subject{}) {
			k.opts.Contests.failed(r.about)
		}
		if text := err.Error(); text != last.failure {
			k.complain(err)
			last.failure = text
		}
		// An object takes a tenth of a worker's time at most.
		wait := max(k.retry.When(key), failedShare*time.Since(start))
		last.failed, last.retry = attempt{r.version, r.want}, time.Now().Add(wait)
		k.remember(key, last, true)
		k.wakeAt(key, last.retry)
		k.rest(ctx, key, start)
		return
	}
	k.retry.Forget(key)
	last = kept{written: start, version: cmp.Or(now.version, r.version), want: r.want, seen: r.version != "", restore: restored}
	k.remember(key, last, true)
	if !refused {
		k.succeed()
		if r.about != (subject{}) {
			k.opts.Contests.wrote(r.about, last.version, now.has)
		}
		if r.sent != nil {
			r.sent()
		}
	}
	k.rest(ctx, key, start)
}

// remember keeps what is known of an object, or forgets it if there is no need.
func (k *keeper[K, W]) remember(key K, now kept, needed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if needed {
		k.kept[key] = now
	} else {
		delete(k.kept, key)
	}
}

// complain logs an error, unless it is the last one again.
func (k *keeper[K, W]) complain(err error) {
	k.mu.Lock()
	again := err.Error() == k.failed
	k.failed = err.Error()
	k.mu.Unlock()
	if !again {
		k.opts.Logger.Warn(k.opts.Failed, "err", err)
	}
}

// succeed has the next error logged, whatever it is.
func (k *keeper[K, W]) succeed() {
	k.mu.Lock()
	k.failed = ""
	k.mu.Unlock()
}
