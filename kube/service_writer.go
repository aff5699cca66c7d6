// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/kube/object"
	"github.com/heraldlb/herald/table"
	"github.com/heraldlb/herald/trace"
)

// serviceWorkers is how many Services are written at a time: enough to give a
// thousand Services their addresses within a second.
const serviceWorkers = 16

// ServiceWriterOptions say where a ServiceWriter writes to.
type ServiceWriterOptions struct {
	Client  *Client         // required
	Events  *Recorder       // required
	Logger  *slog.Logger    // required
	Written func(err error) // optional: called with the outcome of every write, from any goroutine

	Contests *Contests // optional: shared with the process's other writers
}

// A ServiceWriter makes Services as a Plan wants them. Addresses go before conditions
// alone, which no route waits for. It writes to one version of
// a Service once: after that there is a newer version, and the next Plan is made
// from it.
type ServiceWriter struct {
	opts   ServiceWriterOptions
	keeper *keeper[cluster.Key, assign.Update]

	mu     sync.Mutex // guards the fields below
	wanted table.Table[cluster.Key, *assign.Update]
	events map[cluster.Key]serviceEvents
}

// serviceEvents are the events that go with the next write to a Service.
type serviceEvents struct {
	events []cluster.Event

	version string          // of the Service that was written to last
	sent    []cluster.Event // went with that write
}

// NewServiceWriter returns a ServiceWriter that wants nothing.
func NewServiceWriter(opts ServiceWriterOptions) *ServiceWriter {
	if opts.Contests == nil {
		opts.Contests = NewContests(ContestsOptions{Client: opts.Client, Events: opts.Events, Logger: opts.Logger})
	}
	w := &ServiceWriter{opts: opts, events: map[cluster.Key]serviceEvents{}}
	w.keeper = newKeeper(keeperOptions[cluster.Key, assign.Update]{
		Client: opts.Client, Contests: opts.Contests, Logger: opts.Logger, Failed: "service not updated", Compare: cluster.Key.Compare, Diff: w.diff, Workers: serviceWorkers,
		Later: func(u assign.Update) bool { return slices.Equal(u.Ingress, cluster.ParseIngress(u.Service.Ingress)) },
	})
	return w
}

// Set replaces what is wanted. It does not wait for anything to be written. It looks at
// the Updates alone that differ from those of the last call.
func (w *ServiceWriter) Set(updates table.Table[cluster.Key, *assign.Update]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.wanted
	w.wanted = updates
	changes := map[cluster.Key]*assign.Update{}
	for c := range table.Diff(before, updates, table.Same) {
		if c.After == nil {
			changes[c.Key] = nil
			delete(w.events, c.Key)
			continue
		}
		u := *c.After
		changes[c.Key] = u
		// A Plan has an event once, though it may take several Plans until one is
		// carried out.
		e := w.events[c.Key]
		for _, event := range u.Events {
			if e.version != u.Service.ResourceVersion || !slices.Contains(e.sent, event) {
				e.add(event)
			}
		}
		w.events[c.Key] = e
	}
	w.keeper.Change(changes)
}

// Run writes until the context is canceled; then nothing more is written. It may
// be called again, but not twice at a time.
func (w *ServiceWriter) Run(ctx context.Context) error {
	err := w.keeper.Run(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wanted = table.Table[cluster.Key, *assign.Update]{}
	w.keeper.forget() // a pass may have handed over what it decided after the keeper had ended
	clear(w.events)
	return err
}

// diff returns the request that carries out an Update. A Plan has none for a
// Service that is as it should be.
func (w *ServiceWriter) diff(_ cluster.Key, u *assign.Update, _ time.Time) (*request, time.Duration) {
	if u == nil {
		return nil, 0
	}
	var events []cluster.Event
	return &request{
		about: subjectOf(u.Service), version: u.Service.ResourceVersion, has: shownBy(u.Service), want: wantedBy(*u),
		send: func(ctx context.Context) (result, error) {
			// What a watch shows before the answer is there may have nothing be wanted any more.
			events = w.takeEvents(*u)
			now, err := w.write(ctx, *u)
			if err != nil {
				w.returnEvents(*u, events)
			}
			return now, err
		},
		sent: func() {
			for _, e := range events {
				w.opts.Events.Service(u.Service, e)
			}
		},
	}, 0
}

// add adds an event, unless it is there.
func (e *serviceEvents) add(event cluster.Event) {
	if !slices.Contains(e.events, event) {
		e.events = append(e.events, event)
	}
}

// takeEvents returns the events that go with an Update that is being carried out.
func (w *ServiceWriter) takeEvents(u assign.Update) []cluster.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, wanted := w.events[u.Service.Key]
	if !wanted {
		return u.Events
	}
	w.events[u.Service.Key] = serviceEvents{version: u.Service.ResourceVersion, sent: e.events}
	return e.events
}

// returnEvents has the events of an Update that was not carried out go with the next write to
// the Service, before later ones. They go with none if nothing is wanted of it any more.
func (w *ServiceWriter) returnEvents(u assign.Update, events []cluster.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, wanted := w.events[u.Service.Key]
	if !wanted {
		return
	}
	next := serviceEvents{events: slices.Clone(events)}
	for _, event := range e.events {
		next.add(event)
	}
	w.events[u.Service.Key] = next
}

// write carries out an Update.
func (w *ServiceWriter) write(ctx context.Context, u assign.Update) (result, error) {
	patch, err := patchOf(u, time.Now())
	if err != nil {
		return result{}, err
	}
	start := time.Now()
	now, err := w.opts.Client.patchServiceStatus(ctx, u.Service.Namespace, u.Service.Name, patch)
	if trace.On(w.opts.Logger) {
		trace.Line(w.opts.Logger, trace.Written, slog.String("service", u.Service.String()), slog.Duration("took", time.Since(start)), slog.Any("err", err))
	}
	if w.opts.Written != nil && !errors.Is(ctx.Err(), context.Canceled) && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		w.opts.Written(err)
	}
	if err != nil {
		return result{}, fmt.Errorf("service %s: patch status: %w", u.Service.Key, err)
	}
	return result{version: now.ResourceVersion, has: shownBy(object.FromService(now))}, nil
}

func subjectOf(svc *cluster.Service) subject {
	return subject{kind: serviceSubject, namespace: svc.Namespace, name: svc.Name, uid: svc.UID}
}

// wantedBy returns a text that differs between two Updates of one version of a Service
// if what they write does.
func wantedBy(u assign.Update) string {
	text := fmt.Sprint(u.Ingress, u.Pool, u.Foreign, u.Unannounced)
	for _, c := range []*cluster.Condition{u.Condition, u.Announced} {
		text += "\n"
		if c != nil {
			text += fmt.Sprintf("%+v", *c)
		}
	}
	return text
}

// shownBy returns a text that differs between two versions of a Service if the
// fields that Herald writes do.
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
