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

	mu     sync.Mutex // guards states
	states *mirror[string, *customResource]
}

// newSeenState returns a seenState that knows nothing until it runs.
func newSeenState(c *Client, namespace, name string, wake func()) *seenState {
	s := &seenState{client: c, name: name}
	s.states = newMirror(kind[*customResource, string, *customResource]{
		from:    func(c *Client) lister { return c.customResources(kindState, namespace).named(name) },
		row:     func(o *customResource) *customResource { return o },
		key:     func(o *customResource) string { return o.Name },
		compare: strings.Compare,
	}, mirrorOptions[*customResource]{mu: &s.mu, wake: wake, absent: func(error) {}, stays: true})
	return s
}

// get returns the object, nil if there is none, and whether it was read yet.
func (s *seenState) get() (o *customResource, read bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, _ = s.states.get(s.name)
	return o, s.states.reading == listed
}

// run reads until the context is canceled. It begins with nothing.
func (s *seenState) run(ctx context.Context) {
	s.mu.Lock()
	s.states.reset()
	s.mu.Unlock()
	s.states.run(ctx, s.client)
}
