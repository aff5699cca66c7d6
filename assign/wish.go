// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"fmt"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

// A problem is why the request of a Service cannot be understood.
type problem struct {
	reason status.Reason
	detail string
}

// request returns what svc asks for. If there is a problem with the explicit
// wishes, the request is without them, good for keeping what svc holds; with
// one that has no families, svc can hold nothing.
func (p *assignment) request(svc *cluster.Service) (alloc.Request, *problem) {
	req := alloc.Request{
		Service:         alloc.Key(svc.Key),
		UID:             svc.UID,
		Labels:          svc.Labels,
		NamespaceLabels: p.namespaces[svc.Namespace],
		SharingKey:      svc.Wish.SharingKey,
		ShareWith:       svc.Wish.ShareWith,
		Ports:           svc.Ports,
	}
	if svc.Local {
		req.Backend = alloc.Backend{Local: true, Namespace: svc.Namespace, Selector: svc.Selector}
	}
	families, bad := familiesOf(svc)
	if bad != nil {
		return req, bad
	}
	req.Families = families
	if svc.Wish.Invalid != "" {
		return req, &problem{ReasonInvalidRequest, svc.Wish.Invalid}
	}
	if pool := svc.Wish.Pool; pool != "" && !p.HasPool(pool) {
		// Renaming a pool must not cost the Services that name it their
		// addresses, so this is a problem of the request.
		return req, &problem{status.Reason(alloc.PoolUnknown), p.NoPool(pool)}
	}
	req.Addrs, req.Pool = svc.Wish.Addrs, svc.Wish.Pool
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
