// SPDX-License-Identifier: Apache-2.0

// Package reconcile decides who gets which address and who announces it, and
// runs the loops that carry the decisions out.
package reconcile

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
)

// A Snapshot is what the cluster looked like at one moment. It is immutable:
// whoever holds one may share it.
type Snapshot struct {
	Config     *config.Config               // in force; nil: none was accepted yet
	Services   []*Service                   // in the order of their keys
	Nodes      []*Node                      // in the order of their names
	Namespaces map[string]map[string]string // labels by name
	Endpoints  map[Key][]Endpoint           // by Service
}

// findService returns the Service of that key as text; nil if there is none.
func findService(services []*Service, key string) *Service {
	namespace, name, _ := strings.Cut(key, "/")
	i, ok := slices.BinarySearchFunc(services, Key{namespace, name}, func(s *Service, k Key) int { return s.Key.Compare(k) })
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

// String returns "namespace/name".
func (k Key) String() string { return k.Namespace + "/" + k.Name }

// A Service is what Herald needs to know of a Service of any type.
type Service struct {
	Key
	UID             string
	ResourceVersion string
	Created         time.Time
	Labels          map[string]string
	Annotations     map[string]string // of the prefixes metallb.io, metallb.universe.tf and heraldlb.io alone
	Unknown         string            // which of Annotations mean nothing, see config.UnknownAnnotations

	LoadBalancer   bool   // spec.type is LoadBalancer
	Class          string // spec.loadBalancerClass
	ClusterIPs     []netip.Addr
	FamilyPolicy   FamilyPolicy
	PreferIPv6     bool   // spec.ipFamilies starts with IPv6
	LoadBalancerIP string // spec.loadBalancerIP, as written
	Local          bool   // spec.externalTrafficPolicy is Local
	Selector       string // spec.selector in kubectl's notation, keys sorted
	Ports          []Port

	Ingress    []string    // status.loadBalancer.ingress: the IP, or the hostname where there is no IP
	Conditions []Condition // of the prefix heraldlb.io alone
}

// A FamilyPolicy is a Service's spec.ipFamilyPolicy.
type FamilyPolicy string

// The family policies; a Service without one is SingleStack.
const (
	SingleStack      FamilyPolicy = "SingleStack"
	PreferDualStack  FamilyPolicy = "PreferDualStack"
	RequireDualStack FamilyPolicy = "RequireDualStack"
)

// A Port is a port of a Service.
type Port struct {
	Protocol string // TCP, UDP or SCTP
	Number   uint16
}

// A Condition is a condition of Herald's in a Service's status.
type Condition struct {
	Type    string // heraldlb.io/…
	True    bool
	Reason  status.Reason
	Message string
}

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

// An Endpoint is a usable endpoint of a Service: ready, or serving while it
// terminates.
type Endpoint struct {
	Node string // empty: not on a Node
	IPv6 bool
}
