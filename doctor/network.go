// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/topology"
)

// strictARP finds that the kernels of all nodes answer ARP for every address.
func (e *examination) strictARP() {
	runs := slices.ContainsFunc(e.Workloads, func(w Workload) bool { return w.Labels["k8s-app"] == "kube-proxy" })
	onLayer2 := slices.ContainsFunc(e.Topology.Pools, func(p topology.Pool) bool {
		return slices.ContainsFunc(p.Advertisements, func(ad string) bool { return strings.HasPrefix(ad, config.KindL2Advertisement+"/") })
	})
	if e.Proxy == nil || !runs || !onLayer2 || e.Proxy.Mode != "ipvs" || e.Proxy.StrictARP {
		return
	}
	e.found(topology.Problem{
		Severity: topology.Error, Cause: "kube-proxy is in IPVS mode without strictARP: the kernel of every node answers ARP for the addresses that one node is to answer for",
		Cure: "set ipvs.strictARP to true and restart kube-proxy: docs/install.md#kube-proxy", Next: kubectl("kube-system", "edit configmap kube-proxy"),
	}, "ConfigMap/kube-system/kube-proxy")
}

// A poolRange is a range of addresses of a pool.
type poolRange struct {
	config.Range
	pool string
}

func (e *examination) ranges() (out []poolRange) {
	for _, p := range e.Topology.Pools {
		for _, text := range p.Addresses {
			if r, err := config.ParseRange(text); err == nil {
				out = append(out, poolRange{r, p.Name})
			}
		}
	}
	return out
}

// poolOf returns the pool that an address is in; empty: none.
func poolOf(ranges []poolRange, addr netip.Addr) string {
	for _, r := range ranges {
		if r.Contains(addr) {
			return r.pool
		}
	}
	return ""
}

// externalIPs finds Services whose externalIPs are addresses of pools. If another Service has
// the address, the two share it unasked.
func (e *examination) externalIPs() {
	ranges := e.ranges()
	holder := map[netip.Addr]string{}
	for _, svc := range e.Topology.Services {
		for _, a := range svc.Addresses {
			holder[a.Addr] = svc.Name
		}
	}
	for _, svc := range e.Services {
		for _, addr := range svc.ExternalIPs {
			pool := poolOf(ranges, addr)
			if pool == "" || holder[addr] == svc.String() {
				continue
			}
			p := topology.Problem{
				Severity: topology.Warning, Cause: fmt.Sprintf("its spec.externalIPs have %s, which is in pool %s: a Service that gets the address shares it unasked", addr, pool),
				Cure: "remove it from spec.externalIPs, or the address from the pool",
				Next: kubectl(svc.Namespace, "edit service "+topology.Quoted(svc.Name)),
			}
			if other := holder[addr]; other != "" {
				p.Severity = topology.Error
				p.Cause = fmt.Sprintf("its spec.externalIPs have %s, which %s got from pool %s: every node serves both", addr, other, pool)
			}
			e.found(p, "Service/"+svc.String())
		}
	}
}

// overlaps finds pools with addresses that something else has.
func (e *examination) overlaps() {
	ranges := e.ranges()
	for _, p := range e.Topology.Pools {
		own := slices.DeleteFunc(slices.Clone(ranges), func(r poolRange) bool { return r.pool != p.Name })
		for _, what := range e.taken(own) {
			e.found(topology.Problem{
				Severity: topology.Error, Cause: "it holds " + what + ": a Service that gets such an address harms it",
				Cure: "remove these addresses from the pool", Next: "heraldctl why " + topology.Quoted("pool/"+p.Name),
			}, "pool/"+p.Name)
		}
	}
}

// taken says what of the cluster has addresses in ranges, each kind once, by an example.
func (e *examination) taken(ranges []poolRange) (out []string) {
	var nodes, networks, services, peers []string
	for _, n := range e.Input.Cluster.Nodes {
		for _, a := range n.Addrs {
			if poolOf(ranges, a) != "" {
				nodes = append(nodes, fmt.Sprintf("%s of node %s", a, n.Name))
			}
		}
		for _, cidr := range n.PodCIDRs {
			network, err := config.ParseRange(cidr.String())
			if err == nil && slices.ContainsFunc(ranges, func(r poolRange) bool { return r.Overlaps(network) }) {
				networks = append(networks, fmt.Sprintf("addresses of pods, %s of node %s", cidr, n.Name))
			}
		}
	}
	for _, svc := range e.Input.Cluster.Services {
		for _, a := range svc.ClusterIPs {
			if poolOf(ranges, a) != "" {
				services = append(services, fmt.Sprintf("the cluster IP %s of %s", a, svc))
			}
		}
	}
	for _, p := range e.Topology.Peers {
		if a, err := netip.ParseAddr(p.Address); err == nil && poolOf(ranges, a.WithZone("").Unmap()) != "" {
			peers = append(peers, fmt.Sprintf("%s of peer %s", a, p.Name))
		}
	}
	for _, all := range [][]string{nodes, networks, services, peers} {
		switch {
		case len(all) == 1:
			out = append(out, all[0])
		case len(all) > 1:
			out = append(out, fmt.Sprintf("%s and %d more of the kind", all[0], len(all)-1))
		}
	}
	return out
}
