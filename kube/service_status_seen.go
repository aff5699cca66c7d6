// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// seenStatuses mirrors the ServiceL2Statuses and ServiceBGPStatuses of a node.
type seenStatuses struct {
	client *Client

	mu    sync.Mutex // guards kinds
	kinds map[string]*mirror[string, serviceStatusObject]
}

// newSeenStatuses returns seenStatuses that know nothing until they run.
func newSeenStatuses(c *Client, namespace, node string, wake func(), log *slog.Logger) *seenStatuses {
	s := &seenStatuses{client: c, kinds: map[string]*mirror[string, serviceStatusObject]{}}
	var once sync.Once
	for _, name := range serviceStatusKinds {
		s.kinds[name] = newMirror(kind[*customResource, string, serviceStatusObject]{
			from: func(c *Client) lister {
				return c.customResources(name, namespace).labelled(labelNode + "=" + labelValue(node))
			},
			row:     objectSeen,
			key:     func(o serviceStatusObject) string { return o.name },
			compare: strings.Compare,
		}, mirrorOptions[serviceStatusObject]{mu: &s.mu, wake: wake, absent: func(err error) {
			once.Do(func() { log.Info("service status not written", "reason", name, "err", err) })
		}})
	}
	return s
}

// installed reports whether objects of a kind were read and can be written.
func (s *seenStatuses) installed(kind string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kinds[kind].reading == listed
}

// get returns an object, and whether there is one.
func (s *seenStatuses) get(kind, name string) (serviceStatusObject, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kinds[kind].get(name)
}

// all returns all objects of a kind, in the order of their names.
func (s *seenStatuses) all(kind string) []serviceStatusObject {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kinds[kind].list()
}

// run reads until the context is canceled.
func (s *seenStatuses) run(ctx context.Context) error {
	var g errgroup.Group
	for _, kind := range s.kinds {
		g.Go(func() error {
			kind.run(ctx, s.client)
			return nil
		})
	}
	return g.Wait()
}
