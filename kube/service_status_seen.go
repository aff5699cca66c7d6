// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"log/slog"
	"maps"
	"sync"

	"k8s.io/apimachinery/pkg/fields"

	"golang.org/x/sync/errgroup"
)

// seenStatuses are the ServiceL2Statuses and ServiceBGPStatuses of a node as the
// API server has them.
type seenStatuses struct {
	client          *Client
	namespace, node string
	wake            func() // called after every change; must not block
	log             *slog.Logger

	mu   sync.Mutex                                // guards the fields below
	seen map[string]map[string]serviceStatusObject // by kind and name; a kind that is not there cannot be written
}

func newSeenStatuses(c *Client, namespace, node string, wake func(), log *slog.Logger) *seenStatuses {
	return &seenStatuses{client: c, namespace: namespace, node: node, wake: wake, log: log,
		seen: map[string]map[string]serviceStatusObject{}}
}

// installed reports whether objects of a kind were read and can be written.
func (s *seenStatuses) installed(kind string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.seen[kind]
	return ok
}

// get returns an object, and whether there is one.
func (s *seenStatuses) get(kind, name string) (serviceStatusObject, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.seen[kind][name]
	return o, ok
}

// all returns all objects of a kind, by name.
func (s *seenStatuses) all(kind string) map[string]serviceStatusObject {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.seen[kind])
}

// forget drops an object that was deleted, before the watch reports that.
func (s *seenStatuses) forget(kind, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seen[kind], name)
}

// run reads until the context is canceled.
func (s *seenStatuses) run(ctx context.Context) error {
	var g errgroup.Group
	var once sync.Once
	for _, kind := range serviceStatusKinds {
		g.Go(func() error {
			ours := labelled[*customResourceList]{
				s.client.customResources(kind, s.namespace), labelNode + "=" + labelValue(s.node),
			}
			persist(ctx, ours, fields.Everything(), s.sinkOf(kind), func(err error) {
				s.mu.Lock()
				delete(s.seen, kind)
				s.mu.Unlock()
				once.Do(func() { s.log.Info("service status not written", "reason", kind, "err", err) })
			})
			return nil
		})
	}
	return g.Wait()
}

func (s *seenStatuses) sinkOf(kind string) *sink[*customResource] {
	set := func(o *customResource) bool {
		if s.seen[kind] == nil {
			s.seen[kind] = map[string]serviceStatusObject{}
		}
		s.seen[kind][o.Name] = objectSeen(o)
		return true
	}
	return &sink[*customResource]{
		wake:   s.wake,
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
