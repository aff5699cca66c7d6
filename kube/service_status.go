// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
	"log/slog"
	"math"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

const (
	// serviceStatusSettle is how long a ServiceStatusWriter waits after a change for
	// what else changes with it.
	serviceStatusSettle = 200 * time.Millisecond
	// serviceStatusLinger is how long an object stays that is no longer wanted: it
	// may be in a moment.
	serviceStatusLinger = time.Second
	// ownerFresh is how long the owner of objects counts as still there.
	ownerFresh = 30 * time.Second
)

// ServiceStatusWriterOptions say what a ServiceStatusWriter writes, and where.
type ServiceStatusWriterOptions struct {
	Client    *Client      // required
	Namespace string       // required
	Node      string       // required
	Pod       string       // optional: the agent's; the objects belong to the owner of this pod, or to the Node
	Logger    *slog.Logger // required
	Contests  *Contests    // optional: shared with the process's other writers
}

// A ServiceStatusWriter keeps a ServiceL2Status or ServiceBGPStatus for each Service
// that a node announces, and none else for that node. It writes what differs, at
// a bounded rate: one request for a new object, for a change, and for the end. Where the
// kinds are not installed it writes nothing.
type ServiceStatusWriter struct {
	opts   ServiceStatusWriterOptions
	seen   *seenStatuses
	keeper *keeper[serviceStatusID, serviceStatusWant]

	known reconcile.ServiceStatuses // of the last round; the keeper's rounds have it

	mu       sync.Mutex                       // guards the fields below
	unwanted map[serviceStatusID]time.Time    // since when
	all      func() reconcile.ServiceStatuses // nil: what the node announces is not known yet
	owner    *metav1.OwnerReference           // nil: none is known
	ownerAt  time.Time                        // when it was there
	apart    map[string]bool                  // kinds whose status is a subresource
}

// A serviceStatusID is the kind and the name of an object.
type serviceStatusID struct{ kind, name string }

func (a serviceStatusID) compare(b serviceStatusID) int {
	return cmp.Or(strings.Compare(a.kind, b.kind), strings.Compare(a.name, b.name))
}

// A serviceStatusWant is what an object is to say.
type serviceStatusWant struct {
	service cluster.Key
	content string // see contentOf
}

var _ reconcile.ServiceStatusWriter = (*ServiceStatusWriter)(nil)

// NewServiceStatusWriter returns a ServiceStatusWriter that writes nothing until it
// runs.
func NewServiceStatusWriter(opts ServiceStatusWriterOptions) *ServiceStatusWriter {
	if opts.Contests == nil {
		opts.Contests = NewContests(ContestsOptions{Client: opts.Client, Logger: opts.Logger})
	}
	w := &ServiceStatusWriter{opts: opts, unwanted: map[serviceStatusID]time.Time{}, apart: map[string]bool{}}
	w.seen = newSeenStatuses(seenStatusesOptions{
		Client: opts.Client, Namespace: opts.Namespace, Node: opts.Node, Logger: opts.Logger,
		Changed: func(id serviceStatusID) { w.keeper.Changed(id) }, Wake: func() { w.keeper.Wake() },
	})
	w.keeper = newKeeper(keeperOptions[serviceStatusID, serviceStatusWant]{
		Client: opts.Client, Contests: opts.Contests, Logger: opts.Logger, Failed: "service status not written", Compare: w.compare,
		Update: w.update, There: w.there, Diff: w.diff, Every: statusRound, Settle: serviceStatusSettle,
		Workers: 1, Later: func(serviceStatusWant) bool { return true },
	})
	return w
}

// Set replaces how to find what the node announces. It does not wait for anything to
// be written.
func (w *ServiceStatusWriter) Set(all func() reconcile.ServiceStatuses) {
	w.mu.Lock()
	w.all = all
	w.mu.Unlock()
	w.keeper.Update()
}

// Run writes until the context is canceled. The objects stay: that an agent ends
// is not the end of what it announces.
func (w *ServiceStatusWriter) Run(ctx context.Context) error {
	w.known = reconcile.ServiceStatuses{}
	var g errgroup.Group
	g.Go(func() error { return w.seen.run(ctx) })
	g.Go(func() error { return w.keeper.Run(ctx) })
	return g.Wait()
}

// update returns what has become of the objects that there should be, and whether that is
// known yet.
func (w *ServiceStatusWriter) update(ctx context.Context) (map[serviceStatusID]*serviceStatusWant, bool, error) {
	w.mu.Lock()
	find := w.all
	w.mu.Unlock()
	if find == nil {
		return nil, false, nil
	}
	now := find()
	if now.Len() > 0 {
		// Objects that an agent of an older release left behind have another owner.
		if _, err := w.findOwner(ctx, math.MaxInt64); err != nil {
			return nil, false, err
		}
	}
	changes := map[serviceStatusID]*serviceStatusWant{}
	for c := range table.Diff(w.known, now, reconcile.SameStatuses) {
		if c.Before != nil {
			for _, s := range *c.Before {
				changes[w.id(s)] = nil
			}
		}
		if c.After != nil {
			for _, s := range *c.After {
				id := w.id(s)
				changes[id] = &serviceStatusWant{s.Service, w.seen.share(id, contentOf(statusOf(s)))}
			}
		}
	}
	w.known = now
	return changes, true, nil
}

// id returns the object that says so.
func (w *ServiceStatusWriter) id(s reconcile.ServiceStatus) serviceStatusID {
	kind := serviceStatusKinds[s.Protocol]
	return serviceStatusID{kind, objectName(kind, w.opts.Node, s.Service)}
}

// compare orders objects by Service, in the same way on every node: what the controller
// makes of them is then written once.
func (w *ServiceStatusWriter) compare(a, b serviceStatusID) int {
	x, _ := w.keeper.want(a)
	y, _ := w.keeper.want(b)
	return cmp.Or(x.service.Compare(y.service), a.compare(b))
}

// Published reports whether what Set is given of a protocol is written: its kind is
// installed, and can be read.
func (w *ServiceStatusWriter) Published(p status.Protocol) bool {
	return w.seen.installed(serviceStatusKinds[p])
}

// there returns the objects of the node that there are.
func (w *ServiceStatusWriter) there() []serviceStatusID {
	var out []serviceStatusID
	for _, kind := range serviceStatusKinds {
		for _, o := range w.seen.all(kind) {
			out = append(out, serviceStatusID{kind, o.name})
		}
	}
	return out
}

// diff returns the request that makes an object say what it should.
func (w *ServiceStatusWriter) diff(id serviceStatusID, want *serviceStatusWant, now time.Time) (*request, time.Duration) {
	have, there := w.seen.get(id.kind, id.name)
	if want == nil {
		return w.end(id, have, there, now)
	}
	w.mu.Lock()
	delete(w.unwanted, id)
	owner := w.owner
	w.mu.Unlock()
	adopt := there && owner != nil && have.owner != string(owner.UID)
	if !w.seen.installed(id.kind) || there && have.content == want.content && !adopt {
		return nil, 0
	}
	r := &request{about: w.subject(id.kind, id.name), version: have.version, has: have.content, want: want.content}
	if adopt {
		r.want += " of " + string(owner.UID)
	}
	r.send = func(ctx context.Context) (result, error) {
		if !there {
			return w.create(ctx, id, *want)
		}
		if adopt {
			if err := w.adopt(ctx, id); err != nil {
				return result{}, err
			}
		}
		if have.content == want.content {
			return result{has: have.content}, nil
		}
		return w.patch(ctx, id, want.content)
	}
	return r, 0
}

// end returns the request that deletes an object that is not wanted.
func (w *ServiceStatusWriter) end(id serviceStatusID, have serviceStatusObject, there bool, now time.Time) (*request, time.Duration) {
	w.mu.Lock()
	since, known := w.unwanted[id]
	if !known {
		since = now
		w.unwanted[id] = since
	}
	if !there {
		delete(w.unwanted, id)
	}
	w.mu.Unlock()
	if !there {
		return nil, 0
	}
	if left := serviceStatusLinger - now.Sub(since); left > 0 {
		return nil, left
	}
	r := &request{version: have.version, has: id.name}
	if id.name != objectName(id.kind, w.opts.Node, have.service) {
		// Somebody else creates objects about a Service on this node, and each has
		// another name.
		r.about = w.subject(id.kind, "of "+have.service.String())
	}
	r.send = func(ctx context.Context) (result, error) {
		w.opts.Contests.forget(w.subject(id.kind, id.name)) // also if no answer comes
		return result{}, w.delete(ctx, id.kind, id.name)
	}
	return r, 0
}

// subject returns what contests about an object are about.
func (w *ServiceStatusWriter) subject(kind, name string) subject {
	return subject{kind: kind, namespace: w.opts.Namespace, name: name, group: kind}
}
