// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"maps"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/kube/object"
)

// An endpointSlice is what Herald reads of an EndpointSlice: the usable endpoints.
type endpointSlice struct {
	cluster.Key
	service cluster.Key
	usable  []cluster.Endpoint
}

var endpointSlices = kind[*discoveryv1.EndpointSlice, cluster.Key, endpointSlice]{
	name: "EndpointSlices",
	from: func(c *Client) lister { return c.endpointSlices() },
	row: func(s *discoveryv1.EndpointSlice) endpointSlice {
		service, usable := object.FromEndpointSlice(s)
		return endpointSlice{cluster.Key{Namespace: s.Namespace, Name: s.Name}, service, usable}
	},
	key:     func(s endpointSlice) cluster.Key { return s.Key },
	compare: cluster.Key.Compare,
	omit:    func(s endpointSlice) bool { return s.service == cluster.Key{} },
}

// endpoints mirrors EndpointSlices and merges those of each Service.
type endpoints struct {
	*mirror[cluster.Key, endpointSlice]
	names   index[cluster.Key]                 // of the slices of each Service
	merged  map[cluster.Key][]cluster.Endpoint // by Service; somebody may be reading it
	changed map[cluster.Key][]cluster.Endpoint // since merged was made; empty is none
}

// newEndpoints returns endpoints that know nothing. A change of a slice is news only if
// it changes the usable endpoints of a Service: most changes do not. If matters is not
// nil, it must also return true for the Service.
func newEndpoints(opts mirrorOptions[endpointSlice], matters func(service cluster.Key) bool) *endpoints {
	e := &endpoints{names: index[cluster.Key]{}, changed: map[cluster.Key][]cluster.Endpoint{}}
	opts.news = func(changes []change[endpointSlice]) bool {
		touched := map[cluster.Key]bool{}
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
func (e *endpoints) merge(service cluster.Key) bool {
	var all [][]cluster.Endpoint
	for _, name := range e.names[service] {
		all = append(all, e.find(name).usable)
	}
	usable := object.MergeEndpoints(all...)
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
func (e *endpoints) byService() map[cluster.Key][]cluster.Endpoint {
	if len(e.changed) == 0 {
		return e.merged
	}
	next := make(map[cluster.Key][]cluster.Endpoint, len(e.merged)+len(e.changed))
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
