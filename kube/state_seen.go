// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/fields"
)

// A seenState is one ConfigurationState as the API server has it.
type seenState struct {
	client          *Client
	namespace, name string
	wake            func() // called after every change; must not block

	mu     sync.Mutex      // guards the fields below
	seen   *customResource // nil: there is none
	gone   bool            // there was one, and somebody deleted it
	listed bool
}

func newSeenState(c *Client, namespace, name string, wake func()) *seenState {
	return &seenState{client: c, namespace: namespace, name: name, wake: wake}
}

// get returns the object, nil if there is none; whether there was one before that
// somebody deleted; and whether it was read yet.
func (s *seenState) get() (o *customResource, gone, listed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen, s.gone, s.listed
}

// run reads until the context is canceled. It begins with nothing.
func (s *seenState) run(ctx context.Context) {
	s.mu.Lock()
	s.seen, s.gone, s.listed = nil, false, false
	s.mu.Unlock()
	keep := func(o *customResource) bool {
		s.seen, s.gone = o, o == nil && (s.gone || s.seen != nil)
		return true
	}
	persist(ctx, s.client.customResources(kindState, s.namespace),
		fields.OneTermEqualSelector("metadata.name", s.name), &sink[*customResource]{
			wake:   s.wake,
			mu:     &s.mu,
			set:    keep,
			remove: func(*customResource) bool { return keep(nil) },
			replace: func(all []*customResource) bool {
				if len(all) == 0 {
					return keep(nil)
				}
				return keep(all[0])
			},
			synced: func() { s.listed = true },
		}, func(error) {})
}
