// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
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
	name: "EndpointSlices",
	// A headless Service is no load balancer's, and in some clusters most are. kube-proxy
	// does not read them either.
	from:  func(c *Client) lister { return c.endpointSlices().labelled("!" + corev1.IsHeadlessService) },
	strip: stripEndpointSlice,
	row: func(s *discoveryv1.EndpointSlice) endpointSlice {
		service, usable := object.FromEndpointSlice(s)
		return endpointSlice{cluster.Key{Namespace: s.Namespace, Name: s.Name}, service, usable}
	},
	key:     func(s endpointSlice) cluster.Key { return s.Key },
	compare: cluster.Key.Compare,
	omit:    func(s endpointSlice) bool { return s.service == cluster.Key{} },
}

// stripEndpointSlice drops what FromEndpointSlice does not read, which is most of an object.
func stripEndpointSlice(s *discoveryv1.EndpointSlice) {
	name, named := s.Labels[discoveryv1.LabelServiceName]
	if s.Labels = nil; named {
		s.Labels = map[string]string{discoveryv1.LabelServiceName: name}
	}
	s.Annotations, s.OwnerReferences, s.Ports = nil, nil, nil
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		*e = discoveryv1.Endpoint{Conditions: e.Conditions, NodeName: e.NodeName}
	}
}

// endpoints mirrors EndpointSlices and merges those of each Service.
type endpoints struct {
	*mirror[cluster.Key, endpointSlice]
	names  index[cluster.Key]                            // of the slices of each Service
	merged table.Editor[cluster.Key, []cluster.Endpoint] // usable endpoints by Service, of those that have some
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
	var usable []cluster.Endpoint
	if len(all) == 1 {
		usable = all[0] // merged already, and never written to
	} else {
		usable = object.MergeEndpoints(all...)
	}
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
