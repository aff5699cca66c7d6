// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"maps"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/heraldlb/herald/reconcile"
)

// An endpointSlice is what Herald reads of an EndpointSlice: the usable endpoints.
type endpointSlice struct {
	reconcile.Key
	service reconcile.Key
	usable  []reconcile.Endpoint
}

var endpointSlices = kind[*discoveryv1.EndpointSlice, reconcile.Key, endpointSlice]{
	name: "EndpointSlices",
	from: func(c *Client) source { return c.endpointSlices() },
	row: func(s *discoveryv1.EndpointSlice) endpointSlice {
		service, usable := reconcile.FromEndpointSlice(s)
		return endpointSlice{reconcile.Key{Namespace: s.Namespace, Name: s.Name}, service, usable}
	},
	key:     func(s endpointSlice) reconcile.Key { return s.Key },
	compare: reconcile.Key.Compare,
	omit:    func(s endpointSlice) bool { return s.service == reconcile.Key{} },
}

// endpoints mirrors EndpointSlices and merges those of each Service.
type endpoints struct {
	*mirror[reconcile.Key, endpointSlice]
	names   index[reconcile.Key]                   // of the slices of each Service
	merged  map[reconcile.Key][]reconcile.Endpoint // by Service; somebody may be reading it
	changed map[reconcile.Key][]reconcile.Endpoint // since merged was made; empty is none
}

// newEndpoints returns endpoints that know nothing. Most changes of a slice are about
// something else than the usable endpoints of its Service. Those that are not matter,
// if matters, which is optional, returns true for the Service.
func newEndpoints(opts mirrorOptions[endpointSlice], matters func(service reconcile.Key) bool) *endpoints {
	e := &endpoints{names: index[reconcile.Key]{}, changed: map[reconcile.Key][]reconcile.Endpoint{}}
	opts.news = func(changes []change[endpointSlice]) bool {
		touched := map[reconcile.Key]bool{}
		for _, c := range changes {
			if c.old != nil {
				e.names.remove(c.old.service, c.old.Key)
				touched[c.old.service] = true
			}
			if c.now != nil {
				e.names.add(c.now.service, c.now.Key)
				touched[c.now.service] = true
			}
		}
		is := false
		for service := range touched {
			is = e.merge(service) && (matters == nil || matters(service)) || is
		}
		return is
	}
	e.mirror = newMirror(endpointSlices, opts)
	return e
}

// merge reports whether the usable endpoints of a Service have changed.
func (e *endpoints) merge(service reconcile.Key) bool {
	var all [][]reconcile.Endpoint
	for _, name := range e.names[service] {
		all = append(all, e.find(name).usable)
	}
	usable := reconcile.MergeEndpoints(all...)
	old, ok := e.changed[service]
	if !ok {
		old = e.merged[service]
	}
	if slices.Equal(old, usable) {
		return false
	}
	e.changed[service] = usable
	return true
}

// byService returns the usable endpoints of every Service that has one.
func (e *endpoints) byService() map[reconcile.Key][]reconcile.Endpoint {
	if len(e.changed) == 0 {
		return e.merged
	}
	next := make(map[reconcile.Key][]reconcile.Endpoint, len(e.merged)+len(e.changed))
	maps.Copy(next, e.merged)
	for service, usable := range e.changed {
		if len(usable) == 0 {
			delete(next, service)
			continue
		}
		next[service] = usable
	}
	e.merged = next
	clear(e.changed)
	return e.merged
}
