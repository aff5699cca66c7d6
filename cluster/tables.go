// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"maps"
	"slices"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/table"
)

// Tables are a Snapshot for a loop that decides again and again: two versions show in
// microseconds which Services and endpoints differ. They are immutable and may be shared.
type Tables struct {
	Config     *config.Config // in force; nil: none was accepted yet
	Services   table.Table[Key, *Service]
	Nodes      []*Node                      // in the order of their names
	Namespaces map[string]map[string]string // labels by name
	Endpoints  table.Table[Key, []Endpoint] // of the Services that have some
}

// TablesOf returns the Tables of a Snapshot.
func TablesOf(s Snapshot) Tables {
	t := Tables{Config: s.Config, Nodes: s.Nodes, Namespaces: s.Namespaces}
	t.Services = table.Of(func(yield func(Key, *Service) bool) {
		for _, svc := range s.Services {
			if !yield(svc.Key, svc) {
				return
			}
		}
	})
	t.Endpoints = table.Of(func(yield func(Key, []Endpoint) bool) {
		for _, key := range slices.SortedFunc(maps.Keys(s.Endpoints), Key.Compare) {
			if !yield(key, s.Endpoints[key]) {
				return
			}
		}
	})
	return t
}

// Snapshot returns the same as lists.
func (t Tables) Snapshot() Snapshot {
	s := Snapshot{
		Config: t.Config, Nodes: t.Nodes, Namespaces: t.Namespaces,
		Services:  make([]*Service, 0, t.Services.Len()),
		Endpoints: make(map[Key][]Endpoint, t.Endpoints.Len()),
	}
	for _, svc := range t.Services.All() {
		s.Services = append(s.Services, svc)
	}
	for key, endpoints := range t.Endpoints.All() {
		s.Endpoints[key] = endpoints
	}
	return s
}
