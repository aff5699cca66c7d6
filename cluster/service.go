// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"net/netip"
	"time"

	"github.com/heraldlb/herald/port"
	"github.com/heraldlb/herald/status"
)

// ParseIngress returns the addresses of a status; hostnames are left out.
func ParseIngress(ingress []string) []netip.Addr {
	var out []netip.Addr
	for _, s := range ingress {
		if addr, err := netip.ParseAddr(s); err == nil {
			out = append(out, addr.Unmap())
		}
	}
	return out
}

// OwnPrefix starts the names that are Herald's own.
const OwnPrefix = "heraldlb.io/"

// A Service is what Herald needs to know of a Service of any type.
type Service struct {
	Key
	UID             string
	ResourceVersion string
	Created         time.Time
	Labels          map[string]string
	Annotations     map[string]string // of the prefixes metallb.io, metallb.universe.tf and heraldlb.io alone; see MaxAnnotation
	Unknown         string            // which of Annotations mean nothing, see config.UnknownAnnotations

	LoadBalancer   bool   // spec.type is LoadBalancer
	Class          string // spec.loadBalancerClass
	ClusterIPs     []netip.Addr
	FamilyPolicy   FamilyPolicy
	PreferIPv6     bool   // spec.ipFamilies starts with IPv6
	LoadBalancerIP string // spec.loadBalancerIP, as written
	Local          bool   // spec.externalTrafficPolicy is Local
	HealthPort     uint16 // spec.healthCheckNodePort; 0: none
	Affinity       bool   // spec.sessionAffinity is ClientIP
	Restricted     bool   // spec.loadBalancerSourceRanges, or the annotation of that name, says who may connect
	Selector       string // spec.selector in kubectl's notation, keys sorted
	Ports          port.Set
	Wish           Wish // what Annotations and LoadBalancerIP say, see ReadWish

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

// A Condition is one of Herald's conditions in a Service's status.
type Condition struct {
	Type    string // heraldlb.io/…
	True    bool
	Reason  status.Reason
	Message string
}

// Condition returns svc's condition of that type; nil if there is none.
func (svc *Service) Condition(typ string) *Condition {
	for i := range svc.Conditions {
		if svc.Conditions[i].Type == typ {
			return &svc.Conditions[i]
		}
	}
	return nil
}

// SupposedClusterIPs are the cluster IPs of Services that no API server gave any, one
// of each family. They are of the blocks for documentation (RFC 5737, RFC 3849): which
// they are does not matter.
var SupposedClusterIPs = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
