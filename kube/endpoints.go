// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"maps"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/reconcile"
)

// endpoints holds what EndpointSlices say, by Service.
type endpoints struct {
	service map[cluster.Key]cluster.Key                        // of each slice
	slices  map[cluster.Key]map[cluster.Key][]cluster.Endpoint // by Service, then slice

	merged  map[cluster.Key][]cluster.Endpoint // by Service; somebody may be reading it
	changes map[cluster.Key][]cluster.Endpoint // since merged was made; empty is none
}

func newEndpoints() *endpoints {
	return &endpoints{
		service: make(map[cluster.Key]cluster.Key),
		slices:  make(map[cluster.Key]map[cluster.Key][]cluster.Endpoint),
		changes: make(map[cluster.Key][]cluster.Endpoint),
	}
}

func sliceKey(slice *discoveryv1.EndpointSlice) cluster.Key {
	return cluster.Key{Namespace: slice.Namespace, Name: slice.Name}
}

// set reports whether the usable endpoints of a Service change. Most changes of
// a slice are about something else.
func (e *endpoints) set(slice *discoveryv1.EndpointSlice) bool {
	name := sliceKey(slice)
	service, usable := reconcile.FromEndpointSlice(slice)
	changed := false
	if old, ok := e.service[name]; ok && old != service {
		changed = e.delete(name)
	}
	if service == (cluster.Key{}) {
		return changed
	}
	e.service[name] = service
	if e.slices[service] == nil {
		e.slices[service] = make(map[cluster.Key][]cluster.Endpoint, 1)
	}
	e.slices[service][name] = usable
	return e.merge(service) || changed
}

// delete reports whether the usable endpoints of a Service change.
func (e *endpoints) delete(name cluster.Key) bool {
	service, ok := e.service[name]
	if !ok {
		return false
	}
	delete(e.service, name)
	delete(e.slices[service], name)
	if len(e.slices[service]) == 0 {
		delete(e.slices, service)
	}
	return e.merge(service)
}

// replace makes these the only slices. It reports whether the usable endpoints
// of a Service change.
func (e *endpoints) replace(all []*discoveryv1.EndpointSlice) bool {
	keep := make(map[cluster.Key]bool, len(all))
	changed := false
	for _, slice := range all {
		keep[sliceKey(slice)] = true
		changed = e.set(slice) || changed
	}
	for _, name := range slices.Collect(maps.Keys(e.service)) {
		if !keep[name] {
			changed = e.delete(name) || changed
		}
	}
	return changed
}

func (e *endpoints) merge(service cluster.Key) bool {
	usable := reconcile.MergeEndpoints(slices.Collect(maps.Values(e.slices[service]))...)
	old, ok := e.changes[service]
	if !ok {
		old = e.merged[service]
	}
	if slices.Equal(old, usable) {
		return false
	}
	e.changes[service] = usable
	return true
}

// byService returns the usable endpoints of every Service that has one.
func (e *endpoints) byService() map[cluster.Key][]cluster.Endpoint {
	if len(e.changes) == 0 {
		return e.merged
	}
	next := make(map[cluster.Key][]cluster.Endpoint, len(e.merged)+len(e.changes))
	maps.Copy(next, e.merged)
	for service, usable := range e.changes {
		if len(usable) == 0 {
			delete(next, service)
			continue
		}
		next[service] = usable
	}
	e.merged = next
	clear(e.changes)
	return e.merged
}
