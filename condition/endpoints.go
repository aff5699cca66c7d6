// SPDX-License-Identifier: Apache-2.0

package condition

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
)

// unadvertised returns why no node may announce any of the addresses; empty if one may.
func (j *Judge) unadvertised(svc *cluster.Service, addrs []netip.Addr) string {
	var lacks []string
	for _, addr := range addrs {
		pool := j.index.Pool(addr)
		switch {
		case pool == nil:
			return ""
		case len(pool.BGP)+len(pool.Layer2) == 0:
			lacks = append(lacks, fmt.Sprintf("pool %s has no advertisement", pool.Name))
		case pool.Ads(svc.Labels).None():
			lacks = append(lacks, fmt.Sprintf("no advertisement of pool %s selects the Service", pool.Name))
		default:
			return ""
		}
	}
	if len(lacks) == 2 && lacks[0] == lacks[1] {
		lacks = lacks[:1]
	}
	return strings.Join(lacks, "; ")
}

// of returns the endpoints of a Service.
func (r *Reach) of(svc cluster.Key) []cluster.Endpoint {
	endpoints, _ := r.Endpoints.Get(svc)
	return endpoints
}

// unreachable returns which endpoints the addresses lack, so that no node has reason to
// announce any of them; empty if one has.
func (j *Judge) unreachable(svc *cluster.Service, addrs []netip.Addr, r *Reach) string {
	if r == nil {
		return ""
	}
	lack := "the Service has no usable endpoint"
	for _, addr := range addrs {
		pool := j.index.Pool(addr)
		if pool == nil {
			return ""
		}
		for _, e := range r.of(svc.Key) {
			if e.IPv6 != addr.Is6() {
				continue
			}
			if !svc.Local || j.mayAnnounce(pool, svc, r.Nodes, e.Node) {
				return ""
			}
			lack = "the Service has no usable endpoint on a node that may announce it"
		}
	}
	return lack
}

// tooFew returns how many endpoints are ready, if all advertisements of all addresses ask
// for more; else nothing.
func (j *Judge) tooFew(svc *cluster.Service, addrs []netip.Addr, r *Reach) string {
	if r == nil {
		return ""
	}
	why := ""
	for _, addr := range addrs {
		pool := j.index.Pool(addr)
		if pool == nil {
			return ""
		}
		ready := 0
		for _, e := range r.of(svc.Key) {
			if e.IPv6 == addr.Is6() {
				ready += e.Ready()
			}
		}
		least, name := pool.Ads(svc.Labels).Least()
		if ready >= least {
			return ""
		}
		why = fmt.Sprintf("the Service has %d ready endpoints, and advertisement %s asks for %d", ready, name, least)
	}
	return why
}

// mayAnnounce reports whether an advertisement of the pool lets a node announce a
// Service, and nothing that is known of the node forbids it.
func (j *Judge) mayAnnounce(p *announce.Pool, svc *cluster.Service, nodes []*cluster.Node, node string) bool {
	n, known := cluster.FindNode(nodes, node)
	if announce.Refusal(n, known, announce.Options{IgnoreExcludeLB: j.IgnoreExclude}) != "" {
		return false
	}
	return p.Ads(svc.Labels).ApplyToNode(n.Labels)
}
