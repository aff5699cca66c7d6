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
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/source"
)

// ResourcesOptions say where MetalLB's custom resources are.
type ResourcesOptions struct {
	Client    *Client      // required
	Namespace string       // required
	Wake      func()       // required: called after every change; must not block
	Logger    *slog.Logger // required
	Doubt     func(Doubt)  // optional: called for a list that is read again before it is believed; must not block
}

// Resources holds MetalLB's custom resources of one namespace, and the passwords in the
// Secrets that these refer to. Kinds that are not installed are looked for from time to
// time.
type Resources struct {
	opts ResourcesOptions

	mu        sync.Mutex // guards the fields below
	kinds     map[string]*mirror[string, observed]
	passwords *passwords
	doc       *source.Document // what Document returns; nil: it was not made yet
	stale     bool             // doc lacks what was read since
	observer  func()           // optional: called when a status changes, too
}

// An observed is a custom resource as it was seen last.
type observed struct {
	config.Object
	resourceVersion string
	finalizers      []string
	status          json.RawMessage
	secrets         []string // that it refers to
}

// NewResources returns Resources that knows nothing until it runs.
func NewResources(opts ResourcesOptions) *Resources {
	r := &Resources{opts: opts, kinds: map[string]*mirror[string, observed]{}}
	for _, name := range config.ResourceKinds {
		r.kinds[name] = newMirror(observedKind(name, opts.Namespace), mirrorOptions[observed]{
			mu: &r.mu, wake: opts.Wake, news: r.news,
			doubt:  &doubter{what: name + " resources", tell: opts.Doubt},
			absent: warnForbidden(opts.Logger, "resources not read", name), stays: true,
		})
	}
	r.passwords = newPasswords(r)
	return r
}

// observedKind returns one kind of custom resource in a namespace.
func observedKind(name, namespace string) kind[*customResource, string, observed] {
	return kind[*customResource, string, observed]{
		from:  func(c *Client) lister { return c.customResources(name, namespace) },
		strip: func(o *customResource) { o.Annotations = config.ReadAnnotations(name, o.Annotations) },
		row: func(o *customResource) observed {
			object := objectOf(name, o)
			return observed{object, o.ResourceVersion, o.Finalizers, o.Status, object.Secrets()}
		},
		key:     func(o observed) string { return o.Name },
		compare: strings.Compare,
	}
}

// Document returns the newest versions, and whether all were read yet. Until a Secret
// that a new version refers to was read, it returns the versions before.
func (r *Resources) Document() (source.Document, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	installed := false
	for _, kind := range r.kinds {
		if kind.reading == unread {
			return source.Document{}, false
		}
		installed = installed || kind.reading == listed
	}
	if !installed {
		return source.Document{
			Source: r.source(), Err: fmt.Errorf("%w: no kind is installed that may be read", source.ErrNotFound),
		}, true
	}
	if r.doc == nil || r.stale {
		secrets, read := r.passwords.list(time.Now())
		if read {
			r.doc, r.stale = r.newDocument(secrets), false
		}
		if r.doc == nil {
			return source.Document{}, false
		}
	}
	return *r.doc, true
}

func (r *Resources) source() string {
	return fmt.Sprintf("resources of %s in %s", customGroup, r.opts.Namespace)
}

func (r *Resources) newDocument(secrets []config.PasswordSecret) *source.Document {
	doc := &source.Document{Source: r.source(), Resources: &config.Resources{}}
	h := fnv.New64a()
	for _, kind := range config.ResourceKinds {
		for _, o := range r.kinds[kind].list() {
			doc.Resources.Objects = append(doc.Resources.Objects, o.Object)
			fmt.Fprintln(h, o.ID, o.UID, o.Generation, o.Labels, o.Annotations)
		}
	}
	doc.Resources.Secrets = secrets
	doc.Version = strconv.FormatUint(h.Sum64(), 16)
	return doc
}

// get returns an object as it was seen last.
func (r *Resources) get(id config.ID) (observed, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if kind := r.kinds[id.Kind]; kind != nil {
		return kind.get(id.Name)
	}
	return observed{}, false
}

// observe sets a function that is called when a status changes.
func (r *Resources) observe(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.observer = f
}

// Run reads until the context is canceled.
func (r *Resources) Run(ctx context.Context) error {
	var g errgroup.Group
	for _, kind := range r.kinds {
		g.Go(func() error {
			kind.run(ctx, r.opts.Client)
			return nil
		})
	}
	g.Go(func() error { return r.passwords.run(ctx) })
	return g.Wait()
}

// renew has the document made again.
func (r *Resources) renew() {
	r.mu.Lock()
	r.stale = true
	r.mu.Unlock()
	r.opts.Wake()
}

// news reports whether changes change the document.
func (r *Resources) news(changes []change[observed]) bool {
	if r.observer != nil {
		r.observer()
	}
	is, referring := false, false
	for _, c := range changes {
		referring = referring || c.old != nil && len(c.old.secrets) > 0 || c.now != nil && len(c.now.secrets) > 0
		is = is || c.old == nil || c.now == nil || c.old.differs(*c.now)
	}
	if referring {
		names := map[string]bool{}
		for _, o := range r.kinds[config.KindPeer].list() {
			for _, name := range o.secrets {
				names[name] = true
			}
		}
		is = r.passwords.refer(names, time.Now()) || is
	}
	r.stale = r.stale || is
	return is
}

// differs reports whether another version of an object changes the document. Herald
// writes the status itself, so that a status does not count, except that the leading
// controller holds an edit back.
func (o observed) differs(now observed) bool {
	return o.Generation != now.Generation || o.UID != now.UID ||
		o.Deleting != now.Deleting || o.Withheld != now.Withheld ||
		!bytes.Equal(o.Spec, now.Spec) || !maps.Equal(o.Labels, now.Labels) || !maps.Equal(o.Annotations, now.Annotations)
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
