// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/reconcile"
)

// reachSettle is how long news of endpoints and Nodes wait for more: in a large
// cluster there is always some, and what is made of it is not urgent.
const reachSettle = 500 * time.Millisecond

// A reach holds where the endpoints of Services are.
type reach struct {
	nodes     *table[string, *cluster.Node]
	endpoints *endpoints

	readNodes, readEndpoints reading

	waking bool // within reachSettle
}

// A reading is whether a kind was read.
type reading int

const (
	notYet  reading = iota
	refused         // there is no right to
	done
)

func newReach() reach {
	return reach{
		nodes:     newTable(func(n *cluster.Node) string { return n.Name }, strings.Compare),
		endpoints: newEndpoints(),
	}
}

// get returns what is known, nil if it may not be read, and whether it was read.
func (r *reach) get() (*reconcile.Reach, bool) {
	switch {
	case r.readNodes == notYet || r.readEndpoints == notYet:
		return nil, false
	case r.readNodes == refused || r.readEndpoints == refused:
		return nil, true
	}
	return &reconcile.Reach{Nodes: r.nodes.list(), Endpoints: r.endpoints.byService()}, true
}

// followReach reads Nodes and EndpointSlices until the context is canceled.
func (a *Announcements) followReach(ctx context.Context, g *errgroup.Group) {
	r := &a.reach
	nodes := rowsOf("Nodes", r.nodes, reconcile.FromNode)
	nodes.strip = stripNode
	reads(a, nodes, &r.readNodes)
	// What is announced says so, and says when it is not any more: only of other
	// Services is it news where their endpoints are.
	news := func(slice *discoveryv1.EndpointSlice, change func(*discoveryv1.EndpointSlice) bool) bool {
		service, _ := reconcile.FromEndpointSlice(slice)
		return change(slice) && (a.words[service] == "" || a.changed[service])
	}
	slices := &sink[*discoveryv1.EndpointSlice]{
		set: func(s *discoveryv1.EndpointSlice) bool { return news(s, r.endpoints.set) },
		remove: func(s *discoveryv1.EndpointSlice) bool {
			return news(s, func(s *discoveryv1.EndpointSlice) bool { return r.endpoints.delete(sliceKey(s)) })
		},
		replace: r.endpoints.replace,
	}
	reads(a, slices, &r.readEndpoints)
	g.Go(func() error {
		persist(ctx, a.opts.Client.nodes(), fields.Everything(), nodes, func(err error) { a.refused(&r.readNodes, "Node", err) })
		return nil
	})
	g.Go(func() error {
		persist(ctx, a.opts.Client.endpointSlices(), fields.Everything(), slices, func(err error) { a.refused(&r.readEndpoints, "EndpointSlice", err) })
		return nil
	})
}

// reads has a sink take note that its kind was read.
func reads[T object](a *Announcements, s *sink[T], r *reading) {
	s.wake, s.mu, s.synced = a.wakeSoon, &a.mu, func() {}
	replace := s.replace
	s.replace = func(all []T) bool {
		changed := replace(all) || *r != done
		*r = done
		return changed
	}
}

// wakeSoon wakes once for all that is called within reachSettle.
func (a *Announcements) wakeSoon() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.reach.waking {
		return
	}
	a.reach.waking = true
	time.AfterFunc(reachSettle, func() {
		a.mu.Lock()
		a.reach.waking = false
		a.mu.Unlock()
		a.opts.Wake()
	})
}

// refused takes note that a kind is not to be read.
func (a *Announcements) refused(r *reading, kind string, err error) {
	a.mu.Lock()
	news := *r != refused
	*r = refused
	a.mu.Unlock()
	if !news {
		return
	}
	if apierrors.IsForbidden(err) {
		a.opts.Logger.Warn("why Services are not announced is not read", "reason", kind, "err", err)
	}
	a.opts.Wake()
}
