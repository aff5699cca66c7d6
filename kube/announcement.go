// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"unique"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// AnnouncementsOptions say where Announcements are read.
type AnnouncementsOptions struct {
	Client    *Client      // required
	Namespace string       // required
	Wake      func()       // required: called after every change; must not block
	Logger    *slog.Logger // required
}

// Announcements holds what agents say they announce: the status of every
// ServiceL2Status and ServiceBGPStatus of a namespace, whatever its name. It also holds
// where the endpoints of Services are, to explain why nobody announces a Service.
type Announcements struct {
	opts AnnouncementsOptions

	mu      sync.Mutex // guards the fields below
	kinds   []announcedKind
	changed map[cluster.Key]bool              // since words was made
	words   table.Editor[cluster.Key, string] // by Service
	reach   *reach
	left    *leftovers
}

// An announcedKind mirrors one of the kinds.
type announcedKind struct {
	*mirror[string, announcement]
	name  string
	names index[string] // of the objects about each Service
}

// An announcement is what Herald reads of an object of either kind.
type announcement struct {
	name string
	reconcile.ServiceStatus
	made     int64  // on layer 2: when the object was made, in Unix seconds
	misnamed string // see misnamed
	own      bool   // its name is one that Herald gives
}

var _ reconcile.Announcements = (*Announcements)(nil)

// NewAnnouncements returns Announcements that know nothing until they run.
func NewAnnouncements(opts AnnouncementsOptions) *Announcements {
	a := &Announcements{opts: opts}
	a.forget()
	return a
}

func (a *Announcements) forget() {
	a.kinds, a.changed = nil, map[cluster.Key]bool{}
	a.words.Clear()
	for protocol, kind := range serviceStatusKinds {
		a.kinds = append(a.kinds, a.newKind(protocol, kind))
	}
	a.reach, a.left = a.newReach(), newLeftovers(a)
}

func (a *Announcements) newKind(protocol status.Protocol, name string) announcedKind {
	names := index[string]{}
	return announcedKind{name: name, names: names, mirror: newMirror(kind[*customResource, string, announcement]{
		from:    func(c *Client) lister { return c.customResources(name, a.opts.Namespace) },
		strip:   func(o *customResource) { o.Annotations, o.Spec, o.OwnerReferences = nil, nil, nil },
		row:     func(o *customResource) announcement { return announcementOf(protocol, name, o) },
		key:     func(s announcement) string { return s.name },
		compare: strings.Compare,
		omit:    func(s announcement) bool { return s.Node == "" && s.misnamed == "" }, // its status is not written yet
	}, mirrorOptions[announcement]{
		mu: &a.mu, wake: a.opts.Wake,
		absent: warnForbidden(a.opts.Logger, "service status not read", name),
		news: func(changes []change[announcement]) bool {
			for _, c := range changes {
				if c.old != nil {
					names.remove(c.old.Service, c.old.name)
					a.changed[c.old.Service] = true
				}
				if c.now != nil {
					names.add(c.now.Service, c.now.name)
					a.changed[c.now.Service] = true
				}
			}
			a.left.note(name, changes)
			return true
		},
	})}
}

// announcementOf returns the row of an object.
func announcementOf(protocol status.Protocol, kind string, o *customResource) announcement {
	var have serviceStatus
	_ = json.Unmarshal(o.Status, &have) // an invalid status is empty
	// Each text is in the objects of many nodes or Services, and kept once.
	for _, text := range []*string{&have.ServiceNamespace, &have.ServiceName, &have.Node} {
		*text = unique.Make(*text).Value()
	}
	for i, peer := range have.Peers {
		have.Peers[i] = unique.Make(peer).Value()
	}
	out := announcement{name: o.Name, misnamed: misnamed(kind, o, have), own: isObjectName(o.Name), ServiceStatus: reconcile.ServiceStatus{
		Service: cluster.Key{Namespace: have.ServiceNamespace, Name: have.ServiceName},
		Node:    have.Node, Protocol: protocol, Peers: have.Peers,
	}}
	if protocol == status.Layer2 {
		out.made = o.CreationTimestamp.Unix()
	}
	for _, i := range have.Interfaces {
		out.Interfaces = append(out.Interfaces, i.Name)
	}
	return out
}

// Run reads until the context is canceled. It may be called again, but not twice
// at a time.
func (a *Announcements) Run(ctx context.Context) error {
	a.mu.Lock()
	a.forget()
	kinds, reach, left := a.kinds, a.reach, a.left
	a.mu.Unlock()
	var g errgroup.Group
	follow := func(run func(context.Context, *Client)) {
		g.Go(func() error {
			run(ctx, a.opts.Client)
			return nil
		})
	}
	for _, k := range kinds {
		follow(k.run)
	}
	follow(reach.nodes.run)
	follow(reach.endpoints.run)
	follow(left.agents.run)
	g.Go(func() error { return left.keeper.Run(ctx) })
	return g.Wait()
}

// Announced returns what nodes announce, and whether everything was read.
func (a *Announcements) Announced() (condition.Observed, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := condition.Observed{}
	for _, k := range a.kinds {
		if k.reading == unread {
			return condition.Observed{}, false
		}
		out.Reported = out.Reported || k.reading == listed
	}
	var read bool
	if out.Reach, read = a.reach.get(); !read {
		return condition.Observed{}, false
	}
	for key := range a.changed {
		if text := reconcile.Announcers(a.of(key)); text != "" {
			a.words.Set(key, text)
		} else {
			a.words.Delete(key)
		}
	}
	clear(a.changed)
	out.Announcers = a.words.Table()
	return out, true
}

// of returns the announcements of a Service.
func (a *Announcements) of(service cluster.Key) []reconcile.ServiceStatus {
	var out []reconcile.ServiceStatus
	for _, k := range a.kinds {
		for _, name := range k.names[service] {
			if s := k.find(name); s.misnamed == "" {
				out = append(out, s.ServiceStatus)
			}
		}
	}
	return out
}
