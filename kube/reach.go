// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"sync"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
)

// reachSettle is how long news of endpoints and Nodes wait for more. In a large
// cluster there is always some, and what is made of it is not urgent.
const reachSettle = 500 * time.Millisecond

// A reach mirrors where the endpoints of Services are.
type reach struct {
	nodes     *mirror[string, *cluster.Node]
	endpoints *endpoints
}

func (a *Announcements) newReach() *reach {
	const message = "endpoints not read; Services do not report why they are not announced"
	wake := settling(a.opts.Wake)
	return &reach{
		nodes: newMirror(nodes, mirrorOptions[*cluster.Node]{
			mu: &a.mu, wake: wake, absent: warnForbidden(a.opts.Logger, message, "Node"),
		}),
		// Agents report what they announce, and when that ends: the endpoints of
		// other Services alone matter.
		endpoints: newEndpoints(mirrorOptions[endpointSlice]{
			mu: &a.mu, wake: wake, absent: warnForbidden(a.opts.Logger, message, "EndpointSlice"),
		}, func(service cluster.Key) bool {
			_, announced := a.words.Get(service)
			return !announced || a.changed[service]
		}),
	}
}

// get returns the reach, nil if Herald may not read it, and whether it was read.
func (r *reach) get() (*condition.Reach, bool) {
	switch {
	case r.nodes.reading == unread || r.endpoints.reading == unread:
		return nil, false
	case r.nodes.reading == absent || r.endpoints.reading == absent:
		return nil, true
	}
	return &condition.Reach{Nodes: r.nodes.list(), Endpoints: r.endpoints.merged.Table()}, true
}

// settling returns a function that calls another one once for all calls within
// reachSettle.
func settling(wake func()) func() {
	var mu sync.Mutex // guards waiting
	waiting := false
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if waiting {
			return
		}
		waiting = true
		time.AfterFunc(reachSettle, func() {
			mu.Lock()
			waiting = false
			mu.Unlock()
			wake()
		})
	}
}
