// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
)

const (
	// While a kind is not installed, or Herald may not read it, a mirror tries again
	// after absentRetry. It tries less and less often, until it tries once in
	// absentLongest: a thousand agents that do not need the kind must not be felt.
	absentRetry   = 5 * time.Second
	absentLongest = 2 * time.Minute
	// readRetry is when a request is repeated that the API server did not answer.
	readRetry = time.Second
)

// mirrorOptions say for whom a mirror reads.
type mirrorOptions[V any] struct {
	mu   *sync.Mutex // required: guards the mirror; held while news runs
	wake func()      // required: called after a change, without mu; must not block

	// News is optional. It is called after rows have changed, with mu held. It reports
	// whether wake is called; without it, it always is.
	news func([]change[V]) bool

	// Seen is optional. It is called, without mu, for each object that a watch brings.
	seen func(row V, gone bool)

	restored func() // optional: called, with mu held, when a list is older than what was known

	doubt *doubter // optional: lists that lack most of the rows are read twice before a row goes

	// Absent is optional: the kind may be missing, or Herald may have no right to
	// read it. It is called, without mu, when that is found.
	absent func(error)
	stays  bool // rows outlive a kind that goes: they were not deleted
}

// A reading is what a mirror knows of its kind.
type reading int

const (
	unread reading = iota // nothing
	absent                // there is no such kind, or no right to read it
	listed                // all objects
)

// A mirror holds a row for each object of one kind that the API server has. It keeps
// no objects. A list replaces all rows in one step: when the connection to the API
// server was lost, no object looks deleted in between. A change is in the rows before
// anything is woken.
type mirror[K comparable, V any] struct {
	*rowset[K, V]
	reading reading
	version string    // of the API server, as far as was read
	renewed time.Time // the last list

	opts    mirrorOptions[V]
	client  *Client // that is read with; nil: none yet
	hearing hearing

	// The functions below know the type of the objects.
	from  func(*Client) lister
	row   func(obj any) (row V, kept bool, err error)
	strip func(obj any)
	model any // an object's type, for the reflector
}

// errDoubt makes a reflector list again.
var errDoubt = errors.New("the list lacks most of what is known, and is read again")

// newMirror returns a mirror that has read nothing.
func newMirror[T apiObject, K comparable, V any](k kind[T, K, V], opts mirrorOptions[V]) *mirror[K, V] {
	m := &mirror[K, V]{rowset: newRowset(k.key, k.compare), opts: opts, from: k.from, model: *new(T)}
	m.news = opts.news
	if k.same != nil {
		m.same = k.same
	}
	m.row = func(obj any) (row V, kept bool, err error) {
		o, ok := obj.(T)
		if !ok {
			return row, false, fmt.Errorf("a %T where a %T belongs", obj, o)
		}
		row = k.row(o)
		return row, k.omit == nil || !k.omit(row), nil
	}
	m.strip = func(obj any) {
		if o, ok := obj.(T); ok {
			o.SetManagedFields(nil)
			if k.strip != nil {
				k.strip(o)
			}
		}
	}
	return m
}

// reset forgets everything, without news. The caller holds mu.
func (m *mirror[K, V]) reset() {
	m.rows, m.reading, m.version = nil, unread, ""
	clear(m.changes)
}

// Add is called for an object that came to be.
func (m *mirror[K, V]) Add(obj any) error { return m.apply(obj, false) }

// Update is called for an object that changed.
func (m *mirror[K, V]) Update(obj any) error { return m.apply(obj, false) }

// Delete is called for an object that is gone.
func (m *mirror[K, V]) Delete(obj any) error { return m.apply(obj, true) }

func (m *mirror[K, V]) apply(obj any, gone bool) error {
	row, kept, err := m.row(obj)
	if err != nil {
		return err
	}
	if m.opts.seen != nil {
		m.opts.seen(row, gone)
	}
	m.change(func() bool {
		if gone || !kept {
			return m.delete(m.key(row))
		}
		return m.set(row)
	})
	return nil
}

// change makes a change with the lock held. If that matters it wakes, after the
// lock is released.
func (m *mirror[K, V]) change(f func() (matters bool)) {
	m.opts.mu.Lock()
	matters := f()
	m.opts.mu.Unlock()
	if matters {
		m.opts.wake()
	}
}

// UpdateResourceVersion is called when a watch has come to a version.
func (m *mirror[K, V]) UpdateResourceVersion(version string) {
	m.hearing.note()
	m.opts.mu.Lock()
	defer m.opts.mu.Unlock()
	m.version = version
}

// Replace is called with all objects that there are.
func (m *mirror[K, V]) Replace(objs []any, version string) (err error) {
	m.hearing.list()
	rows := make([]V, 0, len(objs))
	for _, obj := range objs {
		row, kept, err := m.row(obj)
		if err != nil {
			return err
		}
		if kept {
			rows = append(rows, row)
		}
	}
	m.change(func() (matters bool) {
		restored := m.client != nil && older(version, m.version)
		if restored {
			m.client.restored.add()
			if m.opts.restored != nil {
				m.opts.restored()
			}
		}
		m.version, m.renewed = version, time.Now()
		doubted := m.opts.doubt.pending()
		if m.doubts(rows) {
			// The objects in the list exist all the same.
			for _, row := range rows {
				matters = m.set(row) || matters
			}
			err = errDoubt
			return matters
		}
		first := m.reading != listed
		m.reading = listed
		return m.replace(rows) || first || doubted || restored
	})
	return err
}

// doubts reports whether a list is read again before it removes rows.
func (m *mirror[K, V]) doubts(rows []V) bool {
	if m.reading != listed {
		return false
	}
	left := 0
	for _, row := range rows {
		if m.find(m.key(row)) != nil {
			left++
		}
	}
	return m.opts.doubt.holds(m.size(), left, time.Now())
}

// Resync does nothing: the rows are what was read.
func (m *mirror[K, V]) Resync() error { return nil }

// Transformer returns what the reflector does to an object as it arrives.
func (m *mirror[K, V]) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) {
		m.strip(obj)
		return obj, nil
	}
}

// run reads until the context is canceled. While there is no such kind, or no right
// to read it, it waits where options say that this may be.
func (m *mirror[K, V]) run(ctx context.Context, c *Client) {
	m.opts.mu.Lock()
	m.client = c
	m.opts.mu.Unlock()
	from := m.from(c)
	m.hearing.kind = from.kind()
	c.hearings.begin(&m.hearing)
	defer c.hearings.end(&m.hearing)
	if m.opts.absent == nil {
		m.follow(ctx, from)
		return
	}
	retry := absentRetry
	for ctx.Err() == nil {
		_, err := from.list(ctx, metav1.ListOptions{Limit: 1})
		wait := retry
		switch {
		case unreadable(err):
			m.hearing.missing()
			m.lost(err)
			retry = min(2*retry, absentLongest)
		case err != nil:
			wait = readRetry
		default:
			retry = absentRetry
			inner, cancel := context.WithCancelCause(ctx)
			m.follow(inner, watchful{from, cancel})
			cancel(nil)
			if err := context.Cause(inner); ctx.Err() == nil && err != nil {
				m.hearing.missing()
				m.lost(err)
			}
		}
		pause(ctx, wait+rand.N(wait/2)) // not all agents at once
	}
}

// lost takes note that the kind is not there, or cannot be read.
func (m *mirror[K, V]) lost(err error) {
	m.opts.mu.Lock()
	known := m.reading == absent || m.reading == listed && m.opts.stays
	if !known {
		m.reading = absent
		m.replace(nil)
	}
	m.opts.mu.Unlock()
	if !known {
		m.opts.absent(err)
		m.opts.wake()
	}
}

// follow reads until the context is canceled.
func (m *mirror[K, V]) follow(ctx context.Context, from lister) {
	h := &history{lister: from}
	lw := &cache.ListWatch{ListWithContextFunc: h.list, WatchFuncWithContext: h.Watch}
	cache.NewReflectorWithOptions(lw, m.model, m, cache.ReflectorOptions{
		Name: fmt.Sprintf("%T", m.model),
		// Come back soon after an outage of the API server, yet not all agents
		// at the same moment.
		Backoff: &wait.Backoff{Duration: 200 * time.Millisecond, Cap: 5 * time.Second, Steps: 20, Factor: 1.5, Jitter: 1},
	}).RunWithContext(ctx)
}

// A watchful lister stops a reflector when the kind is gone.
type watchful struct {
	lister
	stop context.CancelCauseFunc
}

func (w watchful) list(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	l, err := w.lister.list(ctx, opts)
	if unreadable(err) {
		w.stop(err)
	}
	return l, err
}

// unreadable reports whether there is no such kind, or no right to read it.
func unreadable(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsForbidden(err) }

// warnForbidden returns a function that logs that there is no right to read a kind.
func warnForbidden(log *slog.Logger, message, kind string) func(error) {
	return func(err error) {
		if apierrors.IsForbidden(err) {
			log.Warn(message, "reason", kind, "err", err)
		}
	}
}
