// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/reconcile"
)

const (
	// refreshPage is how many Services one request of Refresh asks for.
	refreshPage = 500
	// refreshPoll is how often Refresh looks whether everything has been read.
	refreshPoll = 10 * time.Millisecond
	// refreshRetry is when Refresh tries again if the API server does not answer.
	refreshRetry = time.Second
)

// WatcherOptions say what a Watcher reads, and for whom.
type WatcherOptions struct {
	Client *Client // required
	Wake   func()  // required: called after every change; must not block

	Doubt func(Doubt) // optional: told of lists that are read again before they are believed; must not block

	// What to read besides Services; what is not read is empty in snapshots.
	Nodes, Namespaces, EndpointSlices bool
}

// A Watcher holds what the cluster looks like, as far as Herald needs to know.
// It keeps what it knows while the API server cannot be reached.
type Watcher struct {
	opts WatcherOptions

	mu         sync.Mutex // guards the fields below
	services   *table[cluster.Key, *cluster.Service]
	nodes      *table[string, *cluster.Node]
	namespaces *table[string, namespace]
	endpoints  *endpoints
	byName     map[string]map[string]string // of namespaces; somebody may be reading it
	unread     int                          // kinds of which no list has arrived yet
}

type namespace struct {
	name   string
	labels map[string]string
}

// NewWatcher returns a Watcher that knows nothing until it runs.
func NewWatcher(opts WatcherOptions) *Watcher {
	unread := 1
	for _, kind := range []bool{opts.Nodes, opts.Namespaces, opts.EndpointSlices} {
		if kind {
			unread++
		}
	}
	return &Watcher{
		unread:     unread,
		opts:       opts,
		services:   newTable(func(s *cluster.Service) cluster.Key { return s.Key }, cluster.Key.Compare),
		nodes:      newTable(func(n *cluster.Node) string { return n.Name }, strings.Compare),
		namespaces: newTable(func(n namespace) string { return n.name }, strings.Compare),
		endpoints:  newEndpoints(),
	}
}

// Run reads until the context is canceled.
func (w *Watcher) Run(ctx context.Context) error {
	c := w.opts.Client
	var g errgroup.Group
	services := rowsOf("Services", w.services, reconcile.FromService)
	services.strip = stripService
	start(ctx, &g, w, c.services(metav1.NamespaceAll), services)
	if w.opts.Nodes {
		nodes := rowsOf("Nodes", w.nodes, reconcile.FromNode)
		nodes.strip = stripNode
		start(ctx, &g, w, c.nodes(), nodes)
	}
	if w.opts.Namespaces {
		start(ctx, &g, w, c.namespaces(), rowsOf("Namespaces", w.namespaces, func(n *corev1.Namespace) namespace {
			return namespace{n.Name, n.Labels}
		}))
	}
	if w.opts.EndpointSlices {
		start(ctx, &g, w, c.endpointSlices(), &sink[*discoveryv1.EndpointSlice]{
			set:     w.endpoints.set,
			remove:  func(s *discoveryv1.EndpointSlice) bool { return w.endpoints.delete(sliceKey(s)) },
			replace: w.endpoints.replace,
			doubt: &doubter[*discoveryv1.EndpointSlice]{
				what:  "EndpointSlices",
				known: func() int { return len(w.endpoints.service) },
				has:   func(s *discoveryv1.EndpointSlice) bool { _, ok := w.endpoints.service[sliceKey(s)]; return ok },
			},
		})
	}
	return g.Wait()
}

// Snapshot returns what the cluster looks like now, without a configuration, and
// whether all that is to be read has been read.
func (w *Watcher) Snapshot() (s cluster.Snapshot, synced bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unread > 0 {
		return s, false
	}
	if len(w.namespaces.changes) > 0 {
		w.byName = make(map[string]map[string]string)
		for _, n := range w.namespaces.list() {
			w.byName[n.name] = n.labels
		}
	}
	return cluster.Snapshot{
		Services:   w.services.list(),
		Nodes:      w.nodes.list(),
		Namespaces: w.byName,
		Endpoints:  w.endpoints.byService(),
	}, true
}

// Refresh reads all Services again, past every cache, so that snapshots show all
// that was written before the call. It tries until it has, or the context is
// canceled.
func (w *Watcher) Refresh(ctx context.Context) error {
	// What is read now must not be replaced by a first list that is older.
	poll := func(every time.Duration, done func(context.Context) bool) error {
		return wait.PollUntilContextCancel(ctx, every, true, func(ctx context.Context) (bool, error) { return done(ctx), ctx.Err() })
	}
	if err := poll(refreshPoll, func(context.Context) bool { _, synced := w.Snapshot(); return synced }); err != nil {
		return err
	}
	return poll(refreshRetry, func(ctx context.Context) bool {
		opts := metav1.ListOptions{Limit: refreshPage}
		for {
			page, err := w.opts.Client.services(metav1.NamespaceAll).List(ctx, opts)
			if err != nil {
				return false
			}
			w.add(page.Items)
			if opts.Continue = page.Continue; opts.Continue == "" {
				return true
			}
		}
	})
}

// add takes in those Services that are newer than what is known of them.
func (w *Watcher) add(services []corev1.Service) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range services {
		svc := reconcile.FromService(&services[i])
		known, ok := w.services.get(svc.Key)
		if ok {
			order, err := resourceversion.CompareResourceVersion(known.ResourceVersion, svc.ResourceVersion)
			if err != nil || order >= 0 {
				continue
			}
		}
		w.services.set(svc)
	}
}

// rowsOf returns a sink that keeps a row for each object.
func rowsOf[T object, K comparable, V any](what string, t *table[K, V], row func(T) V) *sink[T] {
	return &sink[T]{
		set:    func(o T) bool { return t.set(row(o)) },
		remove: func(o T) bool { return t.delete(t.key(row(o))) },
		replace: func(all []T) bool {
			rows := make([]V, len(all))
			for i, o := range all {
				rows[i] = row(o)
			}
			return t.replace(rows)
		},
		doubt: &doubter[T]{what: what, known: t.size, has: func(o T) bool { _, ok := t.get(t.key(row(o))); return ok }},
	}
}

func start[T object, L runtime.Object](ctx context.Context, g *errgroup.Group, w *Watcher, c lister[L], s *sink[T]) {
	s.mu, s.wake = &w.mu, w.opts.Wake
	s.synced = func() { w.unread-- }
	s.doubt.tell = w.opts.Doubt
	g.Go(func() error {
		follow(ctx, c, fields.Everything(), s)
		return nil
	})
}

// stripService drops the copy of a Service that kubectl keeps in it.
func stripService(s *corev1.Service) { delete(s.Annotations, corev1.LastAppliedConfigAnnotation) }

// stripNode drops what reconcile.FromNode does not read. The images of a node
// are most of it.
func stripNode(n *corev1.Node) {
	for key := range n.Annotations {
		if !config.IsAnnotation(key) {
			delete(n.Annotations, key)
		}
	}
	n.Status.Images = nil
	n.Status.VolumesInUse = nil
	n.Status.VolumesAttached = nil
}
