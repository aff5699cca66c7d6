// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/kube/object"
	"github.com/heraldlb/herald/table"
	"github.com/heraldlb/herald/trace"
)

const (
	// refreshPoll is how often Refresh looks whether everything has been read.
	refreshPoll = 10 * time.Millisecond
	// restoreSettle is how long there is no snapshot, at most, when some kinds were read
	// again after a restore of etcd and others were not.
	restoreSettle = 3 * time.Second
)

// WatcherOptions say what a Watcher reads, and for whom.
type WatcherOptions struct {
	Client *Client // required
	Wake   func()  // required: called after every change; must not block

	Doubt func(Doubt) // optional: called for a list that is read again before it is believed; must not block

	Logger *slog.Logger // optional: for lines of package trace

	// Certain is optional: there is no snapshot while the list of Services is in doubt. Its
	// Services may have the addresses of those that it lacks.
	Certain bool

	// NoConditions is optional: Services have no conditions, and the version of an older
	// state if nothing else has changed since.
	NoConditions bool

	// Which kinds to read besides Services. The others are empty in snapshots.
	Nodes, Namespaces, EndpointSlices bool
}

// A Watcher holds what Herald needs to know of the cluster. It keeps that while the
// API server cannot be reached.
type Watcher struct {
	opts WatcherOptions

	mu         sync.Mutex // guards the fields below
	services   *mirror[cluster.Key, *cluster.Service]
	nodes      *mirror[string, *cluster.Node]
	namespaces *mirror[string, namespace]
	endpoints  *endpoints
	byKey      table.Editor[cluster.Key, *cluster.Service] // the rows of services
	byName     map[string]map[string]string                // labels of namespaces, nil: to be made; somebody may be reading it
	restored   time.Time                                   // when a kind was found to be older than before; zero: never
}

// NewWatcher returns a Watcher that knows nothing until it runs.
func NewWatcher(opts WatcherOptions) *Watcher {
	w := &Watcher{opts: opts}
	svc := watching[*cluster.Service](w, services.name)
	svc.news = func(changes []change[*cluster.Service]) bool {
		for _, c := range changes {
			if c.now != nil {
				w.byKey.Set((*c.now).Key, *c.now)
			} else {
				w.byKey.Delete((*c.old).Key)
			}
		}
		return true
	}
	if log := opts.Logger; log != nil && trace.On(log) {
		svc.seen = func(s *cluster.Service, gone bool) {
			trace.Line(log, trace.Read, slog.String("service", s.String()), slog.Int("ingress", len(s.Ingress)), slog.Bool("gone", gone))
		}
	}
	kind := services
	if opts.NoConditions {
		kind = announcedServices
	}
	w.services = newMirror(kind, svc)
	w.nodes = newMirror(nodes, watching[*cluster.Node](w, nodes.name))
	ns := watching[namespace](w, namespaces.name)
	ns.news = func([]change[namespace]) bool {
		w.byName = nil
		return true
	}
	w.namespaces = newMirror(namespaces, ns)
	w.endpoints = newEndpoints(watching[endpointSlice](w, endpointSlices.name), nil)
	return w
}

// watching returns the options of a mirror of a Watcher.
func watching[V any](w *Watcher, what string) mirrorOptions[V] {
	return mirrorOptions[V]{mu: &w.mu, wake: w.opts.Wake, doubt: &doubter{what: what, tell: w.opts.Doubt}, restored: func() {
		w.restored = time.Now()
		time.AfterFunc(restoreSettle, w.opts.Wake)
	}}
}

// mixed reports whether some kinds may be from before a restore of etcd, and others from
// after it: a Service that is back would seem to have no endpoints. The caller holds mu.
func (w *Watcher) mixed(now time.Time) bool {
	if w.restored.IsZero() || now.Sub(w.restored) >= restoreSettle {
		return false
	}
	before := w.restored.Add(-restoreSettle)
	return w.services.renewed.Before(before) || w.opts.Nodes && w.nodes.renewed.Before(before) ||
		w.opts.Namespaces && w.namespaces.renewed.Before(before) || w.opts.EndpointSlices && w.endpoints.renewed.Before(before)
}

// Run reads until the context is canceled.
func (w *Watcher) Run(ctx context.Context) error {
	var g errgroup.Group
	follow := func(read bool, run func(context.Context, *Client)) {
		if read {
			g.Go(func() error {
				run(ctx, w.opts.Client)
				return nil
			})
		}
	}
	follow(true, w.services.run)
	follow(w.opts.Nodes, w.nodes.run)
	follow(w.opts.Namespaces, w.namespaces.run)
	follow(w.opts.EndpointSlices, w.endpoints.run)
	return g.Wait()
}

// Tables returns what the cluster looks like now, without a configuration, and whether
// everything was read yet. It costs no more for many Services than for few.
func (w *Watcher) Tables() (t cluster.Tables, synced bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.synced() {
		return t, false
	}
	return cluster.Tables{
		Services:   w.byKey.Table(),
		Nodes:      w.nodes.list(),
		Namespaces: w.labels(),
		Endpoints:  w.endpoints.merged.Table(),
	}, true
}

// synced reports whether everything was read. The caller holds mu.
func (w *Watcher) synced() bool {
	return w.services.reading != unread && !(w.opts.Nodes && w.nodes.reading == unread ||
		w.opts.Namespaces && w.namespaces.reading == unread || w.opts.EndpointSlices && w.endpoints.reading == unread) &&
		!w.mixed(time.Now()) && !(w.opts.Certain && w.services.opts.doubt.pending())
}

// labels returns the labels of namespaces. The caller holds mu.
func (w *Watcher) labels() map[string]map[string]string {
	if w.byName == nil && w.opts.Namespaces {
		w.byName = labelsOf(w.namespaces.list())
	}
	return w.byName
}

// Refresh reads all Services again, past every cache, so that snapshots show all
// that was written before the call. It tries until it succeeds, or the context is
// canceled.
func (w *Watcher) Refresh(ctx context.Context) error {
	// What is read now must not be replaced by a first list that is older.
	poll := func(every time.Duration, done func(context.Context) bool) error {
		return wait.PollUntilContextCancel(ctx, every, true, func(ctx context.Context) (bool, error) { return done(ctx), ctx.Err() })
	}
	if err := poll(refreshPoll, func(context.Context) bool { _, synced := w.Tables(); return synced }); err != nil {
		return err
	}
	return poll(readRetry, func(ctx context.Context) bool {
		all, err := services.read(ctx, w.opts.Client)
		if err == nil {
			w.add(all)
		}
		return err == nil
	})
}

// add takes in the Services that are newer than the known ones.
func (w *Watcher) add(all []*cluster.Service) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, svc := range all {
		if known, ok := w.services.get(svc.Key); ok {
			order, err := resourceversion.CompareResourceVersion(known.ResourceVersion, svc.ResourceVersion)
			if err != nil || order >= 0 {
				continue
			}
		}
		w.services.set(svc)
	}
}

// Read returns the Services and Namespaces that a cluster has now, for programs that
// look once. Daemons have a Watcher.
func Read(ctx context.Context, c *Client) (s cluster.Snapshot, err error) {
	if s.Services, err = services.read(ctx, c); err != nil {
		return s, err
	}
	all, err := namespaces.read(ctx, c)
	s.Namespaces = labelsOf(all)
	return s, err
}

// ReadAll returns the input of an agent's decisions: what Read returns, and the Nodes
// and the endpoints.
func ReadAll(ctx context.Context, c *Client) (cluster.Snapshot, error) {
	s, err := Read(ctx, c)
	if err != nil {
		return s, err
	}
	if s.Nodes, err = nodes.read(ctx, c); err != nil {
		return s, err
	}
	all, err := endpointSlices.read(ctx, c)
	s.Endpoints = map[cluster.Key][]cluster.Endpoint{}
	for _, slice := range all {
		s.Endpoints[slice.service] = object.MergeEndpoints(s.Endpoints[slice.service], slice.usable)
	}
	return s, err
}

// NodeNames returns the names of all Nodes.
func NodeNames(ctx context.Context, c *Client) ([]string, error) {
	all, err := nodes.read(ctx, c)
	names := make([]string, len(all))
	for i, n := range all {
		names[i] = n.Name
	}
	return names, err
}

// NamespaceNames returns the names of all Namespaces.
func NamespaceNames(ctx context.Context, c *Client) ([]string, error) {
	all, err := namespaces.read(ctx, c)
	names := make([]string, len(all))
	for i, n := range all {
		names[i] = n.name
	}
	return names, err
}
