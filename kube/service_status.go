// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/reconcile"
)

const (
	// serviceStatusSettle is how long a ServiceStatus waits after a change for
	// what else changes with it.
	serviceStatusSettle = 200 * time.Millisecond
	// serviceStatusRound is how many objects it writes before it looks again at
	// what is wanted.
	serviceStatusRound = 100
	// serviceStatusLinger is how long an object stays that is no longer wanted: it
	// may be in a moment.
	serviceStatusLinger = time.Second
	// serviceStatusSeen is how long an object that was created may take to be seen.
	serviceStatusSeen = 5 * time.Second
	// serviceStatusAgain is when a write that has not had its effect is repeated,
	// and how long an owner is held to be there.
	serviceStatusAgain = 30 * time.Second
)

// ServiceStatusOptions say what a ServiceStatus writes, and where.
type ServiceStatusOptions struct {
	Client    *Client                                            // required
	Namespace string                                             // required
	Node      string                                             // required
	Pod       string                                             // optional: the objects belong to this pod; else to the Node
	Wanted    func() (all []reconcile.ServiceStatus, known bool) // required: what the node announces; called when there may be something to write
	Gone      func(node string) bool                             // optional: whether the agent of another node is known not to be alive
	Logger    *slog.Logger                                       // required
	Contests  *Contests                                          // optional: whom those are told to that undo what is written
}

// A ServiceStatus keeps a ServiceL2Status or ServiceBGPStatus for each Service
// that a node announces, and none else for that node. It writes what differs, at
// a bounded rate: two requests for a new object, one for a change, one for the
// end. Where the kinds are not installed it writes nothing.
type ServiceStatus struct {
	opts ServiceStatusOptions
	poke chan struct{}

	mu   sync.Mutex                                // guards the fields below
	seen map[string]map[string]serviceStatusObject // by kind and name; a kind that is not there cannot be written

	// The fields below are the write loop's own.
	owner    *metav1.OwnerReference // nil: none is known
	ownerAt  time.Time
	unwanted map[string]time.Time // since when, by name
	tried    map[string]attempt   // the last patch of an object, by name
	failed   string               // the last error that was logged
}

// An attempt is a patch and when it was sent.
type attempt struct {
	content string
	at      time.Time
}

// NewServiceStatus returns a ServiceStatus that writes nothing until it runs.
func NewServiceStatus(opts ServiceStatusOptions) *ServiceStatus {
	if opts.Contests == nil {
		opts.Contests = NewContests(ContestsOptions{Client: opts.Client, Logger: opts.Logger})
	}
	return &ServiceStatus{
		opts: opts, poke: make(chan struct{}, 1), seen: map[string]map[string]serviceStatusObject{},
		unwanted: map[string]time.Time{}, tried: map[string]attempt{},
	}
}

// Wake says that something else may be wanted. It waits for nothing.
func (s *ServiceStatus) Wake() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// Run writes until the context is canceled. The objects stay: that an agent ends
// is not the end of what it announces.
func (s *ServiceStatus) Run(ctx context.Context) error {
	var g errgroup.Group
	var once sync.Once
	for _, kind := range serviceStatusKinds {
		g.Go(func() error {
			ours := labelled[*customResourceList]{
				s.opts.Client.customResources(kind, s.opts.Namespace), labelNode + "=" + labelValue(s.opts.Node),
			}
			persist(ctx, ours, fields.Everything(), s.sinkOf(kind), func(err error) {
				s.mu.Lock()
				delete(s.seen, kind)
				s.mu.Unlock()
				once.Do(func() { s.opts.Logger.Info("service status not written", "reason", kind, "err", err) })
			})
			return nil
		})
	}
	g.Go(func() error {
		s.writeLoop(ctx)
		return nil
	})
	return g.Wait()
}

func (s *ServiceStatus) sinkOf(kind string) *sink[*customResource] {
	set := func(o *customResource) bool {
		if s.seen[kind] == nil {
			s.seen[kind] = map[string]serviceStatusObject{}
		}
		s.seen[kind][o.Name] = objectSeen(o)
		return true
	}
	return &sink[*customResource]{
		wake:   s.Wake,
		mu:     &s.mu,
		set:    set,
		remove: func(o *customResource) bool { delete(s.seen[kind], o.Name); return true },
		replace: func(all []*customResource) bool {
			s.seen[kind] = make(map[string]serviceStatusObject, len(all))
			for _, o := range all {
				set(o)
			}
			return true
		},
		synced: func() {},
	}
}

// A serviceStatusTask is one object to write.
type serviceStatusTask struct {
	kind, name string
	service    cluster.Key
	want       string // the status; empty: delete it
	create     bool
	adopt      bool // it belongs to somebody else
	patch      bool
	stray      bool // to be deleted, and about a Service that another writer tells of, too
}

// writeLoop writes whenever something changes.
func (s *ServiceStatus) writeLoop(ctx context.Context) {
	again := time.NewTicker(serviceStatusAgain)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.poke:
		case <-again.C:
		}
		if !pause(ctx, serviceStatusSettle) {
			return
		}
		select {
		case <-s.poke: // what woke it meanwhile is seen now
		default:
		}
		if more := s.round(ctx); more {
			s.Wake()
			continue
		}
		if !pause(ctx, statusRound-serviceStatusSettle) {
			return
		}
	}
}

// round writes some of what differs, and reports whether there is more.
func (s *ServiceStatus) round(ctx context.Context) (more bool) {
	wanted, known := s.opts.Wanted()
	if !known {
		return false
	}
	now := time.Now()
	tasks := s.plan(wanted, now)
	// Objects that an agent before this one left behind have another owner.
	if s.owner == nil && len(wanted) > 0 || len(tasks) > 0 && now.Sub(s.ownerAt) > serviceStatusAgain {
		if err := s.findOwner(ctx); err != nil {
			s.note(ctx, err)
			return false
		}
		s.ownerAt = now
		tasks = s.plan(wanted, now)
	}
	more = len(tasks) > serviceStatusRound
	for _, task := range tasks[:min(len(tasks), serviceStatusRound)] {
		start := time.Now()
		if err := s.carryOut(ctx, task); err != nil {
			s.note(ctx, err)
			return false
		}
		if !pause(ctx, yield(start)) {
			return false
		}
	}
	s.failed = ""
	return more
}

// note logs an error that is not the last one again, and has another round come.
func (s *ServiceStatus) note(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	s.Wake()
	if err.Error() != s.failed {
		s.failed = err.Error()
		s.opts.Logger.Warn("service status not written", "err", err)
	}
}

// plan compares what is wanted with what there is.
func (s *ServiceStatus) plan(wanted []reconcile.ServiceStatus, now time.Time) []serviceStatusTask {
	s.mu.Lock()
	defer s.mu.Unlock()
	var tasks []serviceStatusTask
	var wait time.Duration // until there is more to do
	keep := make(map[string]bool, len(wanted))
	for _, w := range wanted {
		kind := serviceStatusKinds[w.Protocol]
		objects, installed := s.seen[kind]
		if !installed {
			continue
		}
		t := serviceStatusTask{kind: kind, name: objectName(kind, s.opts.Node, w.Service), service: w.Service, want: contentOf(statusOf(w))}
		keep[t.name] = true
		delete(s.unwanted, t.name)
		have, there := objects[t.name]
		last := s.tried[t.name]
		t.create = !there
		since := now.Sub(last.at)
		switch {
		case !there && since < serviceStatusSeen:
			wait = sooner(wait, serviceStatusSeen-since) // it was created, and is not seen yet
			continue
		case !there:
			t.patch = true
		default:
			t.patch = have.content != t.want && (last.content != t.want || since >= serviceStatusAgain)
		}
		t.adopt = there && s.owner != nil && have.owner != string(s.owner.UID)
		if !t.patch && !t.adopt {
			continue
		}
		// One that was created and is not there any more was deleted by others.
		if hold := s.opts.Contests.hold(s.subject(kind, t.name), have.version, have.content); hold > 0 {
			wait = sooner(wait, hold)
			continue
		}
		tasks = append(tasks, t)
	}
	for kind, objects := range s.seen {
		for name, have := range objects {
			if keep[name] {
				continue
			}
			since, ok := s.unwanted[name]
			if !ok {
				since = now
				s.unwanted[name] = since
			}
			if now.Sub(since) < serviceStatusLinger {
				wait = sooner(wait, serviceStatusLinger)
				continue
			}
			t := serviceStatusTask{kind: kind, name: name, service: have.service, stray: name != objectName(kind, s.opts.Node, have.service)}
			if t.stray {
				if hold := s.opts.Contests.hold(s.strays(t), have.version, name); hold > 0 {
					wait = sooner(wait, hold)
					continue
				}
			}
			tasks = append(tasks, t)
		}
	}
	if wait > 0 {
		time.AfterFunc(wait, s.Wake)
	}
	return tasks
}

// sooner returns the shorter of two waits; 0: there is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// subject returns what contests about an object are about.
func (s *ServiceStatus) subject(kind, name string) subject {
	return subject{kind: kind, namespace: s.opts.Namespace, name: name, group: kind}
}

// strays returns what a contest is about with somebody who creates objects that
// tell of a Service on this node, each with another name.
func (s *ServiceStatus) strays(t serviceStatusTask) subject {
	return s.subject(t.kind, "of "+t.service.String())
}
