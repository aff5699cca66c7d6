// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"fmt"
	"maps"
	"slices"
)

// NodeNames are the lab's nodes.
var NodeNames = []string{"n1", "n2", "n3"}

// The pools. Addresses of layer 2 are on the nodes' LAN.
const (
	poolLAN      = "lan"    // layer 2
	poolRouted   = "routed" // BGP, both families
	poolSwitched = "switch" // layer 2 or BGP, as the last pool-switch made it
	poolSpare    = "spare"  // BGP; it is edited and deleted
)

// A Service is one of the lab's Services.
type Service struct {
	Pool   string
	Local  bool     // externalTrafficPolicy
	V6     bool     // it has an IPv6 address, and no IPv4 one
	Stable bool     // no step touches it; it is under load
	Nodes  []string // where it has endpoints
}

// A World is what the lab's objects are once the steps so far have been carried out and
// undone.
type World struct {
	Services map[string]Service
	Switched bool // the pool switch is announced over BGP
	Spare    bool // the pool spare exists
	Range    int  // which range the pool spare has
	Variant  int  // which communities the pool routed has
}

// StableServices are the Services under load, in order.
var StableServices = []string{"lan-a", "lan-b", "routed-a", "routed-six", "switch-a"}

// ChurnServices are the Services that steps make, change and delete.
var ChurnServices = []string{"churn-0", "churn-1", "churn-2", "churn-3", "churn-4", "churn-5"}

// NewWorld returns what there is before the first step.
func NewWorld() World {
	stable := func(pool string, v6 bool) Service {
		return Service{Pool: pool, V6: v6, Stable: true, Nodes: NodeNames}
	}
	return World{
		Services: map[string]Service{
			"lan-a": stable(poolLAN, false), "lan-b": stable(poolLAN, false), "routed-a": stable(poolRouted, false),
			"routed-six": stable(poolRouted, true), "switch-a": stable(poolSwitched, false),
		},
		Spare: true,
	}
}

// Apply returns the world after a step. A step that finds nothing to do changes
// nothing, so that a list of steps makes sense without any of its steps.
func (w World) Apply(s Step) World {
	switch s.Kind {
	case ServiceCreate:
		w.Services = maps.Clone(w.Services)
		w.Services[s.Target] = Service{Pool: s.Pool, Local: s.Local, Nodes: s.Nodes}
	case ServiceDelete:
		w.Services = maps.Clone(w.Services)
		delete(w.Services, s.Target)
	case Endpoints:
		svc, ok := w.Services[s.Target]
		if !ok {
			break
		}
		w.Services = maps.Clone(w.Services)
		svc.Nodes = s.Nodes
		w.Services[s.Target] = svc
	case PoolEdit:
		w.Spare, w.Range = true, s.Number
	case PoolDelete:
		w.Spare = false
	case PoolSwitch:
		w.Switched = !w.Switched
	case AdvertEdit:
		w.Variant = s.Number
	}
	return w
}

// In returns the names of the Services of a pool, in order.
func (w World) In(pool string) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(w.Services)) {
		if w.Services[name].Pool == pool {
			names = append(names, name)
		}
	}
	return names
}

// Layer2 reports whether a Service's address is announced on layer 2.
func (w World) Layer2(s Service) bool {
	return s.Pool == poolLAN || s.Pool == poolSwitched && !w.Switched
}

// Announcers returns the nodes that announce a Service's address when all is well. On
// layer 2 it is one of them.
func (w World) Announcers(s Service) []string {
	switch {
	case s.Pool == poolSpare && !w.Spare, len(s.Nodes) == 0:
		return nil
	case s.Local:
		return s.Nodes
	default:
		return NodeNames
	}
}

// routedServices are the stable Services that are always announced over BGP.
func routedServices() []string { return NewWorld().stableIn(poolRouted) }

// stableIn are the stable Services of a pool.
func (w World) stableIn(pool string) []string {
	return slices.DeleteFunc(w.In(pool), func(name string) bool { return !w.Services[name].Stable })
}

// spareRange is the range of the pool spare.
func (w World) spareRange() string { return fmt.Sprintf("198.51.100.%d/28", 16*(w.Range%8)) }
