// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"strings"
	"sync"
)

// A seenState mirrors one ConfigurationState.
type seenState struct {
	client *Client
	name   string

	mu     sync.Mutex // guards the fields below
	states *mirror[string, *customResource]
	gone   bool // there was one, and somebody deleted it
}

// newSeenState returns a seenState that knows nothing until it runs.
func newSeenState(c *Client, namespace, name string, wake func()) *seenState {
	s := &seenState{client: c, name: name}
	s.states = newMirror(kind[*customResource, string, *customResource]{
		from:    func(c *Client) lister { return c.customResources(kindState, namespace).named(name) },
		row:     func(o *customResource) *customResource { return o },
		key:     func(o *customResource) string { return o.Name },
		compare: strings.Compare,
	}, mirrorOptions[*customResource]{
		mu: &s.mu, wake: wake, absent: func(error) {}, stays: true,
		news: func(changes []change[*customResource]) bool {
			s.gone = changes[len(changes)-1].now == nil
			return true
		},
	})
	return s
}

// get returns the object, nil if there is none; whether there was one before that
// somebody deleted; and whether it was read yet.
func (s *seenState) get() (o *customResource, gone, read bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, _ = s.states.get(s.name)
	return o, s.gone, s.states.reading == listed
}

// run reads until the context is canceled. It begins with nothing.
func (s *seenState) run(ctx context.Context) {
	s.mu.Lock()
	s.states.reset()
	s.gone = false
	s.mu.Unlock()
	s.states.run(ctx, s.client)
}
