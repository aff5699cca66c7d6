// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
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

// seenStatusesOptions say where to read, and for whom.
type seenStatusesOptions struct {
	Client          *Client               // required
	Namespace, Node string                // required
	Changed         func(serviceStatusID) // required: an object has changed; must not block
	Wake            func()                // required: any object may have changed; must not block
	Logger          *slog.Logger          // required
}

// newSeenStatuses returns seenStatuses that know nothing until they run.
func newSeenStatuses(opts seenStatusesOptions) *seenStatuses {
	s := &seenStatuses{client: opts.Client, kinds: map[string]*mirror[string, serviceStatusObject]{}}
	var once sync.Once
	for _, name := range serviceStatusKinds {
		s.kinds[name] = newMirror(kind[*customResource, string, serviceStatusObject]{
			from: func(c *Client) lister {
				return c.customResources(name, opts.Namespace).labelled(labelNode + "=" + labelValue(opts.Node))
			},
			row:     objectSeen,
			key:     func(o serviceStatusObject) string { return o.name },
			compare: strings.Compare,
		}, mirrorOptions[serviceStatusObject]{mu: &s.mu, wake: opts.Wake, news: func(changes []change[serviceStatusObject]) bool {
			for _, c := range changes {
				opts.Changed(serviceStatusID{name, cmp.Or(c.now, c.old).name})
			}
			return false
		}, absent: func(err error) {
			once.Do(func() { opts.Logger.Info("service status not written", "reason", name, "err", err) })
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

// share returns a content, in the memory of the object that has it already.
func (s *seenStatuses) share(id serviceStatusID, content string) string {
	if have, there := s.get(id.kind, id.name); there && have.content == content {
		return have.content
	}
	return content
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
