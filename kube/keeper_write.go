// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

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

// work looks at the objects of a lane, one after the other. It pauses after a request if
// there is a pace, without an object that it would keep from others.
func (k *keeper[K, W]) work(ctx context.Context, q *queue[K], from lane, pace func(start time.Time) time.Duration) {
	for {
		key, ok := q.Get(from)
		if !ok {
			return
		}
		start := time.Now()
		sent := k.look(ctx, key)
		q.Done(key)
		if sent && pace != nil {
			pause(ctx, pace(start))
		}
	}
}

// look compares an object with what is wanted, and writes it if they differ. It reports
// whether it sent a request.
func (k *keeper[K, W]) look(ctx context.Context, key K) (sent bool) {
	now := time.Now()
	k.mu.Lock()
	last := k.kept[key]
	wanted, ok := k.wanted[key]
	k.mu.Unlock()
	if ctx.Err() != nil {
		return false
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
			return false
		}
		if again = k.hold(last, *r, now); again == 0 {
			k.write(ctx, key, last, *r, restored)
			return true
		}
	}
	if again > 0 {
		k.wakeAt(key, now.Add(again))
	}
	return false
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
