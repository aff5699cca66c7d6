// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/reconcile"
)

const (
	// fieldManager is whom the API server takes for the writer of a field.
	fieldManager = "herald-controller"
	agentManager = "herald-agent"
	// requestTimeout is how long one request may take.
	requestTimeout = 10 * time.Second
	// writers is how many Services are written at a time: enough to give a
	// thousand Services their addresses within a second.
	writers = 16
	// The first and the longest wait after the API server refused a write.
	minRetry, maxRetry = 50 * time.Millisecond, 30 * time.Second
)

// WriterOptions say where a Writer writes to.
type WriterOptions struct {
	Client  *Client         // required
	Events  *Recorder       // required
	Logger  *slog.Logger    // required
	Written func(err error) // optional: told of every write; any goroutine may call it

	Contests *Contests // optional: whom those are told to that undo what is written
}

// A Writer makes Services as a Plan wants them. It writes to one version of a
// Service once: whatever came of that, there is a newer version, and the next
// Plan is made from it. A Service whose status another writer changes each time is
// written more and more rarely.
type Writer struct {
	opts WriterOptions

	mu      sync.Mutex // guards the fields below
	wanted  map[cluster.Key]assign.Update
	written map[cluster.Key]string          // the version of each wanted Service that is dealt with
	events  map[cluster.Key][]cluster.Event // of each wanted Service, for when it is written
	queue   queue                           // nil: not running
}

type queue = workqueue.TypedRateLimitingInterface[cluster.Key]

// NewWriter returns a Writer that wants nothing.
func NewWriter(opts WriterOptions) *Writer {
	if opts.Contests == nil {
		opts.Contests = NewContests(ContestsOptions{Client: opts.Client, Events: opts.Events, Logger: opts.Logger})
	}
	return &Writer{opts: opts}
}

// Set replaces what is wanted. It does not wait for anything to be written, and
// what is no longer wanted, and has not been written yet, never is.
func (w *Writer) Set(updates []assign.Update) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wanted := make(map[cluster.Key]assign.Update, len(updates))
	written := make(map[cluster.Key]string)
	events := make(map[cluster.Key][]cluster.Event)
	for _, u := range updates {
		key := u.Service.Key
		wanted[key] = u
		// A Plan tells of an event once, though it may take several Plans
		// until one is carried out.
		events[key] = w.events[key]
		if w.written[key] == u.Service.ResourceVersion {
			written[key] = u.Service.ResourceVersion
			continue
		}
		for _, e := range u.Events {
			if !slices.Contains(events[key], e) {
				events[key] = append(events[key], e)
			}
		}
		if w.queue != nil {
			w.queue.Add(key)
		}
	}
	w.wanted, w.written, w.events = wanted, written, events
}

// Run writes until the context is canceled; then nothing more is written. It may
// be called again, but not twice at a time.
func (w *Writer) Run(ctx context.Context) error {
	q := workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[cluster.Key](minRetry, maxRetry))
	w.mu.Lock()
	w.queue = q
	for key := range w.wanted {
		q.Add(key)
	}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.queue = nil
		w.mu.Unlock()
	}()

	stop := context.AfterFunc(ctx, q.ShutDown)
	defer stop()
	var g errgroup.Group
	for range writers {
		g.Go(func() error {
			for {
				key, closed := q.Get()
				if closed {
					return nil
				}
				w.process(ctx, q, key)
				q.Done(key)
			}
		})
	}
	return g.Wait()
}

// process writes what is wanted of one Service, unless that is done.
func (w *Writer) process(ctx context.Context, q queue, key cluster.Key) {
	w.mu.Lock()
	u, ok := w.wanted[key]
	done := !ok || w.written[key] == u.Service.ResourceVersion
	w.mu.Unlock()
	if done || ctx.Err() != nil {
		q.Forget(key)
		return
	}
	if hold := w.opts.Contests.hold(subjectOf(u.Service), u.Service.ResourceVersion, shownBy(u.Service)); hold > 0 {
		q.AddAfter(key, hold)
		return
	}
	err := w.write(ctx, u)
	switch {
	case ctx.Err() != nil:
		return // whoever leads next looks at what came of it
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		w.finish(u) // there is a newer version, or none at all
	case err != nil:
		w.count(err)
		w.opts.Logger.Warn("service not updated", "service", key.String(), "err", err)
		q.AddRateLimited(key)
		return
	default:
		w.count(nil)
		w.finish(u)
		for _, e := range w.takeEvents(u) {
			w.opts.Events.Service(u.Service, e)
		}
	}
	q.Forget(key)
}

// finish takes note that this version of a Service is dealt with.
func (w *Writer) finish(u assign.Update) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.wanted[u.Service.Key]; ok {
		w.written[u.Service.Key] = u.Service.ResourceVersion
	}
}

// takeEvents returns what is to be told about a Service that was written.
func (w *Writer) takeEvents(u assign.Update) []cluster.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	events, ok := w.events[u.Service.Key]
	if !ok {
		return u.Events // it is no longer wanted, but it was
	}
	w.events[u.Service.Key] = nil
	return events
}

func (w *Writer) write(ctx context.Context, u assign.Update) error {
	patch, err := patchOf(u, time.Now())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	now, err := w.opts.Client.patchServiceStatus(ctx, u.Service.Namespace, u.Service.Name, patch)
	if err != nil {
		return fmt.Errorf("patch status: %w", err)
	}
	w.opts.Contests.wrote(subjectOf(u.Service), now.ResourceVersion, shownBy(reconcile.FromService(now)))
	return nil
}

func subjectOf(svc *cluster.Service) subject {
	return subject{kind: serviceSubject, namespace: svc.Namespace, name: svc.Name, uid: svc.UID}
}

// shownBy returns a text that is another when somebody has changed what Herald
// writes to a Service.
func shownBy(svc *cluster.Service) string {
	var b strings.Builder
	b.WriteString(svc.Annotations[assign.AnnotationPool])
	for _, s := range svc.Ingress {
		b.WriteString(" ")
		b.WriteString(s)
	}
	for _, c := range svc.Conditions {
		fmt.Fprintf(&b, "\n%+v", c)
	}
	return b.String()
}

func (w *Writer) count(err error) {
	if w.opts.Written != nil {
		w.opts.Written(err)
	}
}
