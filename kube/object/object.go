// SPDX-License-Identifier: Apache-2.0

// Package object decodes Kubernetes objects, as the API server has them and as kubectl
// prints them, into the model of the cluster.
package object

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unique"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/excerpt"
	"github.com/heraldlb/herald/port"
	"github.com/heraldlb/herald/status"
)

// Bounds of what is kept of a Service. A text that is longer differs from all that Herald
// writes, and is kept so far that it goes on to differ.
const (
	maxIngress    = 64   // addresses in its status
	maxHostname   = 253  // bytes of one, if that is a name
	maxConditions = 16   // of Herald's prefix
	maxSelector   = 1024 // bytes of its selector
)

// bounded returns text, without what is beyond limit and one byte more.
func bounded(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.Clone(text[:limit+1])
}

// selectorOf returns the selector of svc in kubectl's notation. In place of a very long
// one there is its digest: two Services' are compared, never read.
func selectorOf(svc *corev1.Service) string {
	text := labels.Set(svc.Spec.Selector).String()
	if len(text) > maxSelector {
		return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text)))
	}
	return text
}

// FromService returns what Herald needs of a Service. It keeps no reference to svc,
// except to its labels.
func FromService(svc *corev1.Service) *cluster.Service {
	s := &cluster.Service{
		Key:             cluster.Key{Namespace: svc.Namespace, Name: svc.Name},
		UID:             string(svc.UID),
		ResourceVersion: svc.ResourceVersion,
		Created:         svc.CreationTimestamp.Time,
		Labels:          svc.Labels,
		LoadBalancer:    svc.Spec.Type == corev1.ServiceTypeLoadBalancer,
		ClusterIPs:      clusterIPs(svc),
		FamilyPolicy:    cluster.SingleStack,
		PreferIPv6:      len(svc.Spec.IPFamilies) > 0 && svc.Spec.IPFamilies[0] == corev1.IPv6Protocol,
		LoadBalancerIP:  bounded(svc.Spec.LoadBalancerIP, cluster.MaxAddrs),
		Local:           svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
		HealthPort:      uint16(svc.Spec.HealthCheckNodePort),
		Restricted:      len(svc.Spec.LoadBalancerSourceRanges) > 0 || svc.Annotations[corev1.AnnotationLoadBalancerSourceRangesKey] != "",
		Selector:        selectorOf(svc),
		Annotations:     config.ReadAnnotations(config.KindService, svc.Annotations),
	}
	if svc.Spec.LoadBalancerClass != nil {
		s.Class = *svc.Spec.LoadBalancerClass
	}
	if svc.Spec.IPFamilyPolicy != nil {
		s.FamilyPolicy = cluster.FamilyPolicy(*svc.Spec.IPFamilyPolicy)
	}
	for k, v := range s.Annotations {
		s.Annotations[k] = bounded(v, cluster.MaxAnnotation)
	}
	s.Unknown = config.UnknownAnnotations(config.KindService, s.Annotations)
	ports := make([]port.Port, len(svc.Spec.Ports))
	for i, p := range svc.Spec.Ports {
		ports[i] = port.Port{Protocol: string(cmp.Or(p.Protocol, corev1.ProtocolTCP)), Number: uint16(p.Port)}
	}
	s.Ports = port.NewSet(ports...)
	s.Wish = cluster.ReadWish(s)
	for i, in := range svc.Status.LoadBalancer.Ingress {
		if i == maxIngress {
			break
		}
		s.Ingress = append(s.Ingress, bounded(cmp.Or(in.IP, in.Hostname), maxHostname))
	}
	for _, c := range svc.Status.Conditions {
		if strings.HasPrefix(c.Type, cluster.OwnPrefix) && len(s.Conditions) < maxConditions {
			s.Conditions = append(s.Conditions, cluster.Condition{
				Type:    c.Type,
				True:    c.Status == "True",
				Reason:  status.Reason(bounded(c.Reason, maxHostname)),
				Message: bounded(c.Message, excerpt.MaxMessage),
			})
		}
	}
	return s
}

// clusterIPs returns the addresses inside the cluster; a headless Service has
// none.
func clusterIPs(svc *corev1.Service) []netip.Addr {
	written := svc.Spec.ClusterIPs
	if len(written) == 0 {
		written = []string{svc.Spec.ClusterIP}
	}
	var out []netip.Addr
	for _, ip := range written {
		if a, err := netip.ParseAddr(ip); err == nil {
			out = append(out, a.Unmap())
		}
	}
	return out
}

// FromNode returns what Herald needs of a Node. It keeps no reference to n, except to
// its labels.
func FromNode(n *corev1.Node) *cluster.Node {
	node := &cluster.Node{Name: n.Name, Labels: n.Labels, Unknown: config.UnknownAnnotations(config.KindNode, n.Annotations)}
	// An invalid annotation drains nothing.
	if text, asked := n.Annotations[cluster.AnnotationDrain]; asked {
		d, err := cluster.ParseDrain(text)
		if node.Drain = d; err != nil {
			node.DrainError = err.Error()
		}
	}
	for _, text := range n.Spec.PodCIDRs {
		if p, err := netip.ParsePrefix(text); err == nil {
			node.PodCIDRs = append(node.PodCIDRs, p.Masked())
		}
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeNetworkUnavailable && c.Status == corev1.ConditionTrue {
			node.NetworkUnavailable = true
		}
	}
	for _, a := range n.Status.Addresses {
		if a.Type != corev1.NodeInternalIP {
			continue
		}
		if ip, err := netip.ParseAddr(a.Address); err == nil {
			node.Addrs = append(node.Addrs, ip.Unmap())
		}
	}
	return node
}

// FromEndpointSlice returns the Service that a slice belongs to, and its usable
// endpoints, sorted and without duplicates. It returns the zero Key if the slice belongs
// to no Service.
func FromEndpointSlice(slice *discoveryv1.EndpointSlice) (cluster.Key, []cluster.Endpoint) {
	name := slice.Labels[discoveryv1.LabelServiceName]
	if name == "" {
		return cluster.Key{}, nil
	}
	key := cluster.Key{Namespace: slice.Namespace, Name: name}
	if slice.AddressType != discoveryv1.AddressTypeIPv4 && slice.AddressType != discoveryv1.AddressTypeIPv6 {
		return key, nil // a ClusterIP is of one of these families; so are its endpoints
	}
	var out []cluster.Endpoint
	for _, ep := range slice.Endpoints {
		if !usable(ep.Conditions) {
			continue
		}
		e := cluster.Endpoint{IPv6: slice.AddressType == discoveryv1.AddressTypeIPv6, Terminating: !ready(ep.Conditions)}
		if ep.NodeName != nil {
			e.Node = unique.Make(*ep.NodeName).Value() // one string for all endpoints there
		}
		out = append(out, e)
	}
	return key, MergeEndpoints(out)
}

// usable reports whether an endpoint takes traffic: it is ready, or it still serves
// while it terminates. Without a condition it is ready.
func usable(c discoveryv1.EndpointConditions) bool {
	return ready(c) || c.Serving != nil && *c.Serving
}

// ready reports whether an endpoint takes new connections.
func ready(c discoveryv1.EndpointConditions) bool { return c.Ready == nil || *c.Ready }

// MergeEndpoints returns the endpoints of all slices of one Service, sorted, one for each
// node and family.
func MergeEndpoints(slicesOf ...[]cluster.Endpoint) []cluster.Endpoint {
	all := slices.Concat(slicesOf...)
	slices.SortFunc(all, func(a, b cluster.Endpoint) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), less(a.IPv6, b.IPv6), less(a.Terminating, b.Terminating))
	})
	out := all[:0]
	for _, e := range all {
		last := len(out) - 1
		if last < 0 || out[last].Node != e.Node || out[last].IPv6 != e.IPv6 {
			out = append(out, e)
		} else {
			out[last].More += e.Ready() // those that are ready come first
		}
	}
	if len(out) < len(all) {
		out = slices.Clone(out) // without room for all pods of a large Service
	}
	return out
}

// less orders false before true.
func less(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
