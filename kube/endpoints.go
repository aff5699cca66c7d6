// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"maps"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/kube/object"
	"github.com/heraldlb/herald/table"
)

// An endpointSlice is what Herald reads of an EndpointSlice: the usable endpoints.
type endpointSlice struct {
	cluster.Key
	service cluster.Key
	usable  []cluster.Endpoint
}

var endpointSlices = kind[*discoveryv1.EndpointSlice, cluster.Key, endpointSlice]{
	name:  "EndpointSlices",
	from:  func(c *Client) lister { return c.endpointSlices() },
	strip: stripEndpointSlice,
	row: func(s *discoveryv1.EndpointSlice) endpointSlice {
		service, usable := object.FromEndpointSlice(s)
		return endpointSlice{cluster.Key{Namespace: s.Namespace, Name: s.Name}, service, usable}
	},
	key:     func(s endpointSlice) cluster.Key { return s.Key },
	compare: cluster.Key.Compare,
	omit:    func(s endpointSlice) bool { return s.service == cluster.Key{} },
}

// stripEndpointSlice drops what the row of a slice does not need: of an endpoint, all but
// its node and its conditions.
func stripEndpointSlice(s *discoveryv1.EndpointSlice) {
	s.Ports, s.OwnerReferences, s.Annotations = nil, nil, nil
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		*e = discoveryv1.Endpoint{NodeName: e.NodeName, Conditions: e.Conditions}
	}
}

// endpoints mirrors EndpointSlices and merges those of each Service.
type endpoints struct {
	*mirror[cluster.Key, endpointSlice]
	names  index[cluster.Key]                            // of the slices of each Service
	merged table.Editor[cluster.Key, []cluster.Endpoint] // usable endpoints by Service, of those that have some
	listed map[cluster.Key][]cluster.Endpoint            // what byService returned; somebody may be reading it
	of     table.Table[cluster.Key, []cluster.Endpoint]  // what that was made of
}

// newEndpoints returns endpoints that know nothing. A change of a slice is news only if
// it changes the usable endpoints of a Service: most changes do not. If matters is not
// nil, it must also return true for the Service.
func newEndpoints(opts mirrorOptions[endpointSlice], matters func(service cluster.Key) bool) *endpoints {
	e := &endpoints{names: index[cluster.Key]{}}
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
	if old, _ := e.merged.Get(service); slices.Equal(old, usable) {
		return false
	}
	if len(usable) == 0 {
		e.merged.Delete(service)
	} else {
		e.merged.Set(service, usable)
	}
	return true
}

// byService returns the usable endpoints of every Service that has one.
func (e *endpoints) byService() map[cluster.Key][]cluster.Endpoint {
	now := e.merged.Table()
	var next map[cluster.Key][]cluster.Endpoint
	for c := range table.Diff(e.of, now, slices.Equal[[]cluster.Endpoint]) {
		if next == nil {
			next = make(map[cluster.Key][]cluster.Endpoint, now.Len())
			maps.Copy(next, e.listed)
		}
		if c.After == nil {
			delete(next, c.Key)
		} else {
			next[c.Key] = *c.After
		}
	}
	if e.of = now; next != nil {
		e.listed = next
	}
	return e.listed
}
