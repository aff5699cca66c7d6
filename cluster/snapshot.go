// SPDX-License-Identifier: Apache-2.0

// Package cluster is the model of a cluster: what Herald needs to know of its
// Services, Nodes and endpoints. It has values only.
package cluster

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/config"
)

// A Snapshot is the cluster at one moment. It is immutable and may be shared.
type Snapshot struct {
	Config     *config.Config               // in force; nil: none was accepted yet
	Services   []*Service                   // in the order of their keys
	Nodes      []*Node                      // in the order of their names
	Namespaces map[string]map[string]string // labels by name
	Endpoints  map[Key][]Endpoint           // by Service
}

// FindService returns the Service of that key as text; nil if there is none.
func FindService(services []*Service, key string) *Service {
	i, ok := slices.BinarySearchFunc(services, ParseKey(key), func(s *Service, k Key) int { return s.Key.Compare(k) })
	if !ok {
		return nil
	}
	return services[i]
}

// A Key names a Service.
type Key struct{ Namespace, Name string }

// Compare orders keys by namespace, then name.
func (k Key) Compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Namespace, o.Namespace), cmp.Compare(k.Name, o.Name))
}

// ParseKey returns the Key whose String is text.
func ParseKey(text string) Key {
	namespace, name, _ := strings.Cut(text, "/")
	return Key{namespace, name}
}

// String returns "namespace/name".
func (k Key) String() string { return k.Namespace + "/" + k.Name }

// A Node is what Herald needs to know of a Node.
type Node struct {
	Name               string
	Labels             map[string]string
	NetworkUnavailable bool         // condition NetworkUnavailable is True
	Addrs              []netip.Addr // InternalIPs
	PodCIDRs           []netip.Prefix
	Drain              Drain  // annotation AnnotationDrain; zero: it has none that can be read
	DrainError         string // why it cannot be read; empty: it can, or there is none
	Unknown            string // which annotations mean nothing, see config.UnknownAnnotations
}

// An Endpoint stands for the usable endpoints of a Service and family on a node: those
// that are ready, or still serve while they terminate.
type Endpoint struct {
	Node        string // empty: not on a Node
	IPv6        bool
	Terminating bool // none of them is ready
	More        int  // how many are ready but for the first
}

// Ready returns how many of them are ready.
func (e Endpoint) Ready() int {
	if e.Terminating {
		return 0
	}
	return 1 + e.More
}

// FindNode returns the Node of that name; one that the cluster does not have
// has no labels.
func FindNode(nodes []*Node, name string) (Node, bool) {
	if n := NodeOf(nodes, name); n != nil {
		return *n, true
	}
	return Node{Name: name}, false
}

// NodeOf returns the Node of that name; nil if there is none.
func NodeOf(nodes []*Node, name string) *Node {
	i, ok := slices.BinarySearchFunc(nodes, name, func(n *Node, name string) int { return cmp.Compare(n.Name, name) })
	if !ok {
		return nil
	}
	return nodes[i]
}

// An Event is a Kubernetes event about a Service or the configuration.
type Event struct {
	Warning bool
	Reason  string // as metallb's, see Event* constants
	Message string
}
