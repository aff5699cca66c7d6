// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/source"
)

// While a kind is not installed, or Herald may not read it, it looks again after
// absentRetry, and less and less often until it is once in absentLongest: a
// thousand agents that have no use for it must not be felt.
const (
	absentRetry   = 5 * time.Second
	absentLongest = 2 * time.Minute
)

// ResourcesOptions say where MetalLB's custom resources are.
type ResourcesOptions struct {
	Client    *Client      // required
	Namespace string       // required
	Wake      func()       // required: called after every change; must not block
	Logger    *slog.Logger // required
	Doubt     func(Doubt)  // optional: told of lists that are read again before they are believed; must not block
}

// Resources holds MetalLB's custom resources of one namespace, and of its
// Secrets what peers need of them: these are read once a peer refers to one.
// Kinds that are not installed are looked for from time to time.
type Resources struct {
	opts    ResourcesOptions
	secrets chan struct{} // closed when Secrets are to be read

	mu        sync.Mutex // guards the fields below
	objects   map[config.ID]observed
	passwords map[string]config.PasswordSecret
	unread    map[string]bool  // kinds of which it is not known what there is
	installed map[string]bool  // kinds that were listed
	reading   bool             // Secrets are to be read
	doc       *source.Document // what Document returns; nil: to be made
	observer  func()           // called when a status changes, too; nil: nobody cares
}

// An observed is a custom resource as it was seen last.
type observed struct {
	config.Object
	resourceVersion string
	finalizers      []string
	status          json.RawMessage
}

const kindSecret = "Secret"

// NewResources returns Resources that knows nothing until it runs.
func NewResources(opts ResourcesOptions) *Resources {
	r := &Resources{
		opts: opts, secrets: make(chan struct{}),
		objects: map[config.ID]observed{}, passwords: map[string]config.PasswordSecret{},
		unread: map[string]bool{}, installed: map[string]bool{},
	}
	for _, kind := range config.ResourceKinds {
		r.unread[kind] = true
	}
	return r
}

// Document returns the newest versions, and whether all were read yet.
func (r *Resources) Document() (source.Document, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.unread) > 0 {
		return source.Document{}, false
	}
	if r.doc == nil {
		r.doc = r.newDocument()
	}
	return *r.doc, true
}

func (r *Resources) newDocument() *source.Document {
	doc := &source.Document{Source: fmt.Sprintf("resources of %s in %s", customGroup, r.opts.Namespace)}
	if len(r.installed) == 0 {
		doc.Err = fmt.Errorf("%w: no kind is installed that may be read", source.ErrNotFound)
		return doc
	}
	doc.Resources = &config.Resources{}
	h := fnv.New64a()
	for _, id := range slices.SortedFunc(maps.Keys(r.objects), config.ID.Compare) {
		o := r.objects[id].Object
		doc.Resources.Objects = append(doc.Resources.Objects, o)
		fmt.Fprintln(h, o.ID, o.UID, o.Generation, o.Labels, o.Annotations)
	}
	for _, name := range slices.Sorted(maps.Keys(r.passwords)) {
		doc.Resources.Secrets = append(doc.Resources.Secrets, r.passwords[name])
	}
	doc.Version = strconv.FormatUint(h.Sum64(), 16)
	return doc
}

// get returns an object as it was seen last.
func (r *Resources) get(id config.ID) (observed, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o, ok := r.objects[id]
	return o, ok
}

// observe has a function called when a status changes.
func (r *Resources) observe(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.observer = f
}

// Run reads until the context is canceled.
func (r *Resources) Run(ctx context.Context) error {
	var g errgroup.Group
	for _, kind := range config.ResourceKinds {
		g.Go(func() error {
			absent := func(err error) { r.absent(kind, err) }
			persist(ctx, r.opts.Client.customResources(kind, r.opts.Namespace), fields.Everything(), r.sinkOf(kind), absent)
			return nil
		})
	}
	g.Go(func() error {
		select {
		case <-ctx.Done():
		case <-r.secrets:
			absent := func(err error) { r.absent(kindSecret, err) }
			persist(ctx, r.opts.Client.secrets(r.opts.Namespace), fields.Everything(), r.secretSink(), absent)
		}
		return nil
	})
	return g.Wait()
}

func (r *Resources) sinkOf(kind string) *sink[*customResource] {
	return &sink[*customResource]{
		strip: func(o *customResource) { o.Annotations = config.ReadAnnotations(kind, o.Annotations) },
		wake:  r.opts.Wake,
		mu:    &r.mu,
		set:   func(o *customResource) bool { return r.set(kind, o) },
		remove: func(o *customResource) bool {
			delete(r.objects, config.ID{Kind: kind, Name: o.Name})
			r.doc = nil
			return true
		},
		replace: func(all []*customResource) bool {
			keep := map[string]bool{}
			changed := false
			for _, o := range all {
				keep[o.Name] = true
				changed = r.set(kind, o) || changed
			}
			for id := range r.objects {
				if id.Kind == kind && !keep[id.Name] {
					delete(r.objects, id)
					r.doc, changed = nil, true
				}
			}
			if !r.installed[kind] {
				r.installed[kind], r.doc = true, nil
			}
			return changed
		},
		synced: func() { delete(r.unread, kind) },
		doubt: &doubter[*customResource]{
			what:  kind + " resources",
			known: func() int { return r.count(kind) },
			has:   func(o *customResource) bool { _, ok := r.objects[config.ID{Kind: kind, Name: o.Name}]; return ok },
			tell:  r.opts.Doubt,
		},
	}
}

// count returns how many objects of a kind are known.
func (r *Resources) count(kind string) int {
	n := 0
	for id := range r.objects {
		if id.Kind == kind {
			n++
		}
	}
	return n
}

// set keeps a version of an object, and reports whether it says anything new. A
// status that changes says nothing new, as Herald writes it itself, but for whether
// the leading controller holds an edit back.
func (r *Resources) set(kind string, c *customResource) bool {
	o := observed{Object: objectOf(kind, c), resourceVersion: c.ResourceVersion, finalizers: c.Finalizers, status: c.Status}
	before, known := r.objects[o.ID]
	r.objects[o.ID] = o
	if r.observer != nil {
		r.observer()
	}
	if kind == config.KindPeer && !r.reading && bytes.Contains(c.Spec, []byte(`"passwordSecret"`)) {
		r.reading, r.unread[kindSecret] = true, true
		close(r.secrets)
	}
	if known && before.Generation == o.Generation && before.UID == o.UID &&
		before.Deleting == o.Deleting && before.Withheld == o.Withheld &&
		bytes.Equal(before.Spec, o.Spec) && maps.Equal(before.Labels, o.Labels) && maps.Equal(before.Annotations, o.Annotations) {
		return false
	}
	r.doc = nil
	return true
}

// objectOf returns what config needs to know of a custom resource.
func objectOf(kind string, c *customResource) config.Object {
	o := config.Object{
		ID:         config.ID{Kind: kind, Name: c.Name},
		UID:        string(c.UID),
		Generation: c.Generation,
		Created:    c.CreationTimestamp.Time,
		Labels:     c.Labels,
		// Like labels, they change without another generation.
		Annotations: config.ReadAnnotations(kind, c.Annotations),
		Spec:        c.Spec,
		Deleting:    c.DeletionTimestamp != nil,
	}
	var s resourceStatus
	if json.Unmarshal(c.Status, &s) == nil {
		if s.InForce != nil {
			o.InForce = []byte(*s.InForce)
		}
		if a := s.condition(conditionAccepted); a != nil {
			o.Judged = a.Reason
			newest := a.ObservedGeneration == c.Generation
			o.Accepted = newest && a.Status == string(metav1.ConditionTrue)
			o.Withheld = newest && a.Reason == config.VerdictInUse
		}
	}
	return o
}

func (r *Resources) secretSink() *sink[*corev1.Secret] {
	set := func(s *corev1.Secret) bool {
		p := config.PasswordSecret{Namespace: s.Namespace, Name: s.Name, Type: string(s.Type)}
		password, ok := s.Data[config.PasswordSecretKey]
		if p.HasKey = ok; ok && p.Type == config.PasswordSecretType {
			p.Password = config.NewSecret(string(password))
		}
		if old, ok := r.passwords[p.Name]; ok && old == p {
			return false
		}
		r.passwords[p.Name], r.doc = p, nil
		return true
	}
	return &sink[*corev1.Secret]{
		// All but a password is nobody's business here.
		strip: func(s *corev1.Secret) {
			s.Annotations, s.Labels = nil, nil
			maps.DeleteFunc(s.Data, func(key string, _ []byte) bool {
				return key != config.PasswordSecretKey || string(s.Type) != config.PasswordSecretType
			})
		},
		wake:   r.opts.Wake,
		mu:     &r.mu,
		set:    set,
		remove: func(s *corev1.Secret) bool { delete(r.passwords, s.Name); r.doc = nil; return true },
		replace: func(all []*corev1.Secret) bool {
			keep := map[string]bool{}
			changed := false
			for _, s := range all {
				keep[s.Name] = true
				changed = set(s) || changed
			}
			for name := range r.passwords {
				if !keep[name] {
					delete(r.passwords, name)
					r.doc, changed = nil, true
				}
			}
			return changed
		},
		synced: func() { delete(r.unread, kindSecret) },
	}
}

// absent takes note that of a kind nothing can be read. What was read before
// stays: it was not deleted.
func (r *Resources) absent(kind string, err error) {
	r.mu.Lock()
	first := r.unread[kind]
	if delete(r.unread, kind); first {
		r.doc = nil
	}
	r.mu.Unlock()
	if !first {
		return
	}
	if apierrors.IsForbidden(err) {
		r.opts.Logger.Warn("resources not read", "reason", kind, "err", err)
	}
	r.opts.Wake()
}

// persist keeps a sink up to date as follow does. While there is no such kind,
// or no right to read it, it says so and waits.
func persist[T object, L runtime.Object](ctx context.Context, c lister[L], selector fields.Selector, s *sink[T], absent func(error)) {
	pause := absentRetry
	for ctx.Err() == nil {
		_, err := c.List(ctx, metav1.ListOptions{Limit: 1, FieldSelector: selector.String()})
		wait := pause
		switch {
		case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
			absent(err)
			pause = min(2*pause, absentLongest)
		case err != nil:
			wait = refreshRetry
		default:
			pause = absentRetry
			inner, cancel := context.WithCancelCause(ctx)
			follow(inner, watchful[L]{c, cancel}, selector, s)
			cancel(nil)
			if err := context.Cause(inner); ctx.Err() == nil && err != nil {
				absent(err)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait + rand.N(wait/2)): // not all agents at once
		}
	}
}

// A watchful lister stops whoever follows it when its kind is gone.
type watchful[L runtime.Object] struct {
	lister[L]
	stop context.CancelCauseFunc
}

// List returns the objects that there are.
func (w watchful[L]) List(ctx context.Context, opts metav1.ListOptions) (L, error) {
	l, err := w.lister.List(ctx, opts)
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		w.stop(err)
	}
	return l, err
}
