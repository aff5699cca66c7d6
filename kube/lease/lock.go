// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// A lock is the Lease at the API server. It bounds each request and sets the duration of
// the Lease by the pace of the API server, and tracks how long this process may lead.
type lock struct {
	resourcelock.Interface
	log *slog.Logger

	mu      sync.Mutex // guards the fields below
	now     pace
	calm    int // answers in a row that were fast enough for a faster pace
	history history
	until   time.Time   // this process may lead until then
	expired func()      // called then; nil: this process does not lead
	timer   *time.Timer // calls expire
}

func newLock(lease resourcelock.Interface, log *slog.Logger) *lock {
	return &lock{Interface: lease, log: log, now: fastest}
}

// Get reads the Lease. What is older than what was seen before names no leader that counts:
// etcd was restored. The leader goes on, and others wait twice as long as the last Lease. A
// leader that reads of another one ends its term.
func (l *lock) Get(ctx context.Context) (record *resourcelock.LeaderElectionRecord, raw []byte, err error) {
	err = l.request(ctx, l.pace(), func(ctx context.Context) (err error) {
		record, raw, err = l.Interface.Get(ctx)
		return err
	})
	if err != nil {
		return record, raw, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	leads := l.expired != nil && time.Now().Before(l.until)
	restored := l.history.read(*record, raw)
	switch {
	case restored && leads:
		record.HolderIdentity = l.Identity()
	case restored:
		record.HolderIdentity = unknownHolder
		record.LeaseDurationSeconds = int(l.history.wait / time.Second)
	case leads && record.HolderIdentity != l.Identity():
		l.log.Warn("another process holds the Lease", "holder", record.HolderIdentity)
		l.until = time.Time{}
		l.timer.Reset(0)
	}
	return record, raw, nil
}

// Create writes the first Lease.
func (l *lock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.write(ctx, r, l.Interface.Create)
}

// Update writes the Lease.
func (l *lock) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.write(ctx, r, l.Interface.Update)
}

// write writes a Lease that this process holds. A write that fails may take effect all the
// same, and later: the shorter of the old and the new time to lead counts until one succeeds.
func (l *lock) write(ctx context.Context, r resourcelock.LeaderElectionRecord, f func(context.Context, resourcelock.LeaderElectionRecord) error) error {
	p := l.pace()
	r.LeaseDurationSeconds = int(p.lease() / time.Second)
	until := time.Now().Add(p.renew())
	l.lead(func(old time.Time) time.Time {
		if old.Before(until) {
			return old
		}
		return until
	})
	err := l.request(ctx, p, func(ctx context.Context) error { return f(ctx, r) })
	if err == nil {
		l.lead(func(time.Time) time.Time {
			l.history.wrote(r)
			return until
		})
	}
	return err
}

// request makes a request, and learns from it how slow the API server is.
func (l *lock) request(ctx context.Context, p pace, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, p.request())
	defer cancel()
	start := time.Now()
	err := f(ctx)
	took := time.Since(start)
	late := errors.Is(ctx.Err(), context.DeadlineExceeded)
	if err != nil && !late {
		return err // an error says little about the time of an answer
	}
	l.mu.Lock()
	was := l.now
	l.now, l.calm = was.after(took, late, l.calm)
	now := l.now
	l.mu.Unlock()
	switch {
	case now > was:
		l.log.Warn("API server is slow: the Lease of the leader lasts longer", "answer", took, "lease", now.lease())
	case now < was && now == fastest:
		l.log.Info("API server is no longer slow", "answer", took, "lease", now.lease())
	}
	return err
}

func (l *lock) pace() pace {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// lead changes how long this process may lead.
func (l *lock) lead(change func(time.Time) time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = change(l.until)
	if l.timer != nil {
		l.timer.Reset(time.Until(l.until))
	}
}

// onExpiry calls expired when the Lease was not renewed in time, until stop is called.
func (l *lock) onExpiry(expired func()) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expired = expired
	l.timer = time.AfterFunc(time.Until(l.until), l.expire)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.timer.Stop()
		l.expired, l.timer = nil, nil
	}
}

// expire ends the term unless the Lease was renewed meanwhile.
func (l *lock) expire() {
	l.mu.Lock()
	expired := l.expired
	if time.Now().Before(l.until) {
		expired = nil // the timer was set again
	}
	l.mu.Unlock()
	if expired != nil {
		expired()
	}
}
