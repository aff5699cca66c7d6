// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
)

// A wish is an annotation by which a Service asks for something, under its
// name of today and under the one it had before.
type wish struct{ current, deprecated string }

var (
	wishAddrs   = wish{config.AnnotationAddrs, config.AnnotationAddrsFormerly}
	wishPool    = wish{config.AnnotationAddressPool, config.AnnotationAddressPoolFormerly}
	wishSharing = wish{config.AnnotationSharing, config.AnnotationSharingFormerly}
)

// of returns what svc says. The name of today wins even when it says nothing.
func (w wish) of(svc *cluster.Service) string {
	if v, ok := svc.Annotations[w.current]; ok {
		return v
	}
	return svc.Annotations[w.deprecated]
}

// deprecatedWishes returns the names of svc's annotations that are in force
// and deprecated.
func deprecatedWishes(svc *cluster.Service) []string {
	var out []string
	for _, w := range []wish{wishAddrs, wishPool, wishSharing} {
		_, current := svc.Annotations[w.current]
		if _, ok := svc.Annotations[w.deprecated]; ok && !current {
			out = append(out, w.deprecated)
		}
	}
	return out
}

// A problem is why the request of a Service cannot be understood.
type problem struct {
	reason status.Reason
	detail string
}

// A reader turns Services into requests. It reuses its memory: a request is
// valid until the next.
type reader struct {
	namespaces map[string]map[string]string
	ports      []alloc.Port
}

// request returns what svc asks for. If there is a problem with the explicit
// wishes, the request is without them, good for keeping what svc holds; with
// one that has no families, svc can hold nothing.
func (r *reader) request(svc *cluster.Service, a *alloc.Allocator) (alloc.Request, *problem) {
	r.ports = r.ports[:0]
	for _, p := range svc.Ports {
		r.ports = append(r.ports, alloc.Port(p))
	}
	req := alloc.Request{
		Service:         alloc.Key(svc.Key),
		UID:             svc.UID,
		Labels:          svc.Labels,
		NamespaceLabels: r.namespaces[svc.Namespace],
		SharingKey:      wishSharing.of(svc),
		Ports:           r.ports,
	}
	if svc.Local {
		req.Backend = alloc.Backend{Local: true, Selector: svc.Selector}
	}
	families, bad := familiesOf(svc)
	if bad != nil {
		return req, bad
	}
	req.Families = families

	addrs, err := wishedAddrs(svc)
	if err != nil {
		return req, &problem{ReasonInvalidRequest, err.Error()}
	}
	pool := wishPool.of(svc)
	if pool != "" && !a.HasPool(pool) {
		// Renaming a pool must not cost the Services that name it their
		// addresses, so this is a problem of the request.
		return req, &problem{status.Reason(alloc.PoolUnknown), a.NoPool(pool)}
	}
	req.Addrs, req.Pool = addrs, pool
	return req, nil
}

// familiesOf returns the families that svc wants, which its cluster IPs tell.
func familiesOf(svc *cluster.Service) (alloc.Families, *problem) {
	switch ips := svc.ClusterIPs; {
	case len(ips) == 0:
		return 0, &problem{ReasonNoClusterIP, "the Service has no cluster IP"}
	case len(ips) > 2 || len(ips) == 2 && ips[0].Is4() == ips[1].Is4():
		return 0, &problem{ReasonInvalidRequest, fmt.Sprintf("cluster IPs %v are not one or two of different families", ips)}
	case len(ips) == 1 && svc.FamilyPolicy == cluster.RequireDualStack:
		return 0, &problem{ReasonNotDualStack, fmt.Sprintf("Service requires dual stack but not enough clusterips %v", ips)}
	case len(ips) == 1 && ips[0].Is4():
		return alloc.IPv4, nil
	case len(ips) == 1:
		return alloc.IPv6, nil
	case svc.FamilyPolicy != cluster.PreferDualStack:
		return alloc.DualStack, nil
	case svc.PreferIPv6:
		return alloc.PreferIPv6, nil
	}
	return alloc.PreferIPv4, nil
}

// wishedAddrs returns the addresses that svc asks for by an annotation or by
// spec.loadBalancerIP; none if it takes any.
func wishedAddrs(svc *cluster.Service) ([]netip.Addr, error) {
	text := wishAddrs.of(svc)
	if text == "" && svc.LoadBalancerIP == "" {
		return nil, nil
	}
	if text != "" && svc.LoadBalancerIP != "" {
		return nil, fmt.Errorf("service can not have both %s and svc.Spec.LoadBalancerIP", wishAddrs.current)
	}
	var addrs []netip.Addr
	if text == "" {
		addr, err := netip.ParseAddr(svc.LoadBalancerIP)
		if err != nil || addr.Zone() != "" {
			return nil, fmt.Errorf("invalid spec.loadBalancerIP %q", svc.LoadBalancerIP)
		}
		addrs = []netip.Addr{addr.Unmap()}
	} else {
		for field := range strings.SplitSeq(text, ",") {
			addr, err := netip.ParseAddr(strings.TrimSpace(field))
			if err != nil || addr.Zone() != "" {
				return nil, fmt.Errorf("invalid %s %q", wishAddrs.current, text)
			}
			addrs = append(addrs, addr.Unmap())
		}
	}
	// One address for each cluster IP, of the same family.
	if len(addrs) > 2 || len(addrs) == 2 && addrs[0].Is4() == addrs[1].Is4() {
		return nil, fmt.Errorf("requested loadBalancer IP(s) %v are not one, or two of different families", addrs)
	}
	for _, addr := range addrs {
		if !slices.ContainsFunc(svc.ClusterIPs, func(ip netip.Addr) bool { return ip.Is4() == addr.Is4() }) {
			return nil, fmt.Errorf("requested loadBalancer IP(s) %v do not match the ipFamily of the service", addrs)
		}
	}
	if len(addrs) < len(svc.ClusterIPs) {
		return nil, fmt.Errorf("requested loadBalancer IP(s) %v do not match the ipFamily of the service", addrs)
	}
	return addrs, nil
}
