// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
)

// AnnouncementsOptions say where Announcements are read.
type AnnouncementsOptions struct {
	Client    *Client      // required
	Namespace string       // required
	Wake      func()       // required: called after every change; must not block
	Logger    *slog.Logger // required

	Sessions func() reconcile.NodeSessions // optional: what agents say of their sessions; must not block
}

// Announcements holds what agents say they announce: of every ServiceL2Status and
// ServiceBGPStatus of a namespace, whatever its name, the few words of its status.
// It also holds where the endpoints of Services are, for what nobody announces.
type Announcements struct {
	opts AnnouncementsOptions

	mu      sync.Mutex // guards the fields below
	kinds   map[string]*announcedKind
	changed map[cluster.Key]bool   // since words was made
	words   map[cluster.Key]string // by Service; somebody may be reading it
	reach   reach
}

// An announcedKind is what was read of one kind.
type announcedKind struct {
	read      bool // or known not to be installed
	installed bool
	objects   map[string]reconcile.ServiceStatus // by name
	byService map[cluster.Key]map[string]bool    // names
}

var _ reconcile.Announcements = (*Announcements)(nil)

// NewAnnouncements returns Announcements that know nothing until they run.
func NewAnnouncements(opts AnnouncementsOptions) *Announcements {
	a := &Announcements{opts: opts}
	a.forget()
	return a
}

func (a *Announcements) forget() {
	a.kinds, a.changed, a.words = map[string]*announcedKind{}, map[cluster.Key]bool{}, nil
	for _, kind := range serviceStatusKinds {
		a.kinds[kind] = &announcedKind{}
		a.kinds[kind].clear()
	}
	a.reach = newReach()
}

func (k *announcedKind) clear() {
	k.objects, k.byService = map[string]reconcile.ServiceStatus{}, map[cluster.Key]map[string]bool{}
}

// Announced returns what nodes announce, and whether all was read.
func (a *Announcements) Announced() (reconcile.Announced, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := reconcile.Announced{}
	for _, k := range a.kinds {
		if !k.read {
			return reconcile.Announced{}, false
		}
		out.Told = out.Told || k.installed
	}
	var read bool
	if out.Reach, read = a.reach.get(); !read {
		return reconcile.Announced{}, false
	}
	if len(a.changed) > 0 {
		words := make(map[cluster.Key]string, len(a.words)+len(a.changed))
		maps.Copy(words, a.words)
		for key := range a.changed {
			if text := reconcile.Words(a.of(key)); text != "" {
				words[key] = text
			} else {
				delete(words, key)
			}
		}
		a.words = words
		clear(a.changed)
	}
	out.Words = a.words
	if a.opts.Sessions != nil {
		out.Sessions = a.opts.Sessions()
	}
	return out, true
}

// of returns all there is to say of a Service.
func (a *Announcements) of(service cluster.Key) []reconcile.ServiceStatus {
	var out []reconcile.ServiceStatus
	for _, k := range a.kinds {
		for name := range k.byService[service] {
			out = append(out, k.objects[name])
		}
	}
	return out
}

// Run reads until the context is canceled. It may be called again, but not twice
// at a time.
func (a *Announcements) Run(ctx context.Context) error {
	a.mu.Lock()
	a.forget()
	a.mu.Unlock()
	var g errgroup.Group
	for protocol, kind := range serviceStatusKinds {
		g.Go(func() error {
			persist(ctx, a.opts.Client.customResources(kind, a.opts.Namespace), fields.Everything(), a.sinkOf(protocol, kind), func(err error) {
				a.absent(kind, err)
			})
			return nil
		})
	}
	a.followReach(ctx, &g)
	return g.Wait()
}

func (a *Announcements) sinkOf(protocol status.Protocol, kind string) *sink[*customResource] {
	k := a.kinds[kind]
	set := func(o *customResource) bool { return a.set(k, o.Name, announcementOf(protocol, o)) }
	return &sink[*customResource]{
		strip:  func(o *customResource) { o.Annotations, o.Spec, o.OwnerReferences = nil, nil, nil },
		wake:   a.opts.Wake,
		mu:     &a.mu,
		set:    set,
		remove: func(o *customResource) bool { return a.remove(k, o.Name) },
		replace: func(all []*customResource) bool {
			keep := make(map[string]bool, len(all))
			changed := !k.read || !k.installed
			k.read, k.installed = true, true
			for _, o := range all {
				keep[o.Name] = true
				changed = set(o) || changed
			}
			for _, name := range slices.Collect(maps.Keys(k.objects)) {
				if !keep[name] {
					changed = a.remove(k, name) || changed
				}
			}
			return changed
		},
		synced: func() {},
	}
}

// announcementOf returns what an object says.
func announcementOf(protocol status.Protocol, o *customResource) reconcile.ServiceStatus {
	var have serviceStatus
	_ = json.Unmarshal(o.Status, &have) // what is no status says nothing
	out := reconcile.ServiceStatus{
		Service: cluster.Key{Namespace: have.ServiceNamespace, Name: have.ServiceName},
		Node:    have.Node, Protocol: protocol, Peers: have.Peers,
	}
	for _, i := range have.Interfaces {
		out.Interfaces = append(out.Interfaces, i.Name)
	}
	return out
}

// set keeps what an object says, and reports whether that is news.
func (a *Announcements) set(k *announcedKind, name string, s reconcile.ServiceStatus) bool {
	old, known := k.objects[name]
	if known && old.Service == s.Service && old.Node == s.Node && slices.Equal(old.Peers, s.Peers) && slices.Equal(old.Interfaces, s.Interfaces) {
		return false
	}
	changed := a.remove(k, name)
	if s.Node == "" {
		return changed // its status is not written yet
	}
	k.objects[name] = s
	if k.byService[s.Service] == nil {
		k.byService[s.Service] = make(map[string]bool, 1)
	}
	k.byService[s.Service][name] = true
	a.changed[s.Service] = true
	return true
}

// remove forgets an object, and reports whether there was one.
func (a *Announcements) remove(k *announcedKind, name string) bool {
	old, known := k.objects[name]
	if !known {
		return false
	}
	delete(k.objects, name)
	delete(k.byService[old.Service], name)
	if len(k.byService[old.Service]) == 0 {
		delete(k.byService, old.Service)
	}
	a.changed[old.Service] = true
	return true
}

// absent takes note that a kind is not there, or not to be read.
func (a *Announcements) absent(kind string, err error) {
	a.mu.Lock()
	k := a.kinds[kind]
	news := !k.read || k.installed
	for service := range k.byService {
		a.changed[service] = true
	}
	k.read, k.installed = true, false
	k.clear()
	a.mu.Unlock()
	if !news {
		return
	}
	if apierrors.IsForbidden(err) {
		a.opts.Logger.Warn("service status not read", "reason", kind, "err", err)
	}
	a.opts.Wake()
}
