// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/config"
)

// Overlaps returns which pools contain addresses that the cluster itself uses: those of
// Nodes, of pods and of Services inside the cluster. It names the first of each kind in a
// pool, in the order of pools. A Service with such an address takes it from its owner, or
// cannot be reached.
func Overlaps(cfg *config.Config, nodes []*cluster.Node, services []*cluster.Service) []string {
	pools := announce.NewIndex(cfg)
	node, pod, service := map[string]string{}, map[string]string{}, map[string]string{} // by pool
	note := func(in map[string]string, addr netip.Addr, format string, args ...any) {
		p := pools.Pool(addr)
		if p == nil {
			return
		}
		if _, noted := in[p.Name]; !noted {
			in[p.Name] = fmt.Sprintf("pool %q: contains %s, ", p.Name, addr) + fmt.Sprintf(format, args...)
		}
	}
	for _, n := range nodes {
		for _, a := range n.Addrs {
			note(node, a, "the address of Node %s", n.Name)
		}
		for _, prefix := range n.PodCIDRs {
			for r := range pools.Pools {
				if prefix.Overlaps(netip.PrefixFrom(r.First, r.First.BitLen())) {
					note(pod, r.First, "an address of the pod network of Node %s, %s", n.Name, prefix)
				} else if r.Contains(prefix.Addr()) {
					note(pod, prefix.Addr(), "the first address of the pod network of Node %s, %s", n.Name, prefix)
				}
			}
		}
	}
	for _, svc := range services {
		for _, a := range svc.ClusterIPs {
			if !slices.Contains(cluster.SupposedClusterIPs, a) {
				note(service, a, "the cluster IP of Service %s", svc)
			}
		}
	}
	var out []string
	for _, p := range cfg.Pools {
		for _, in := range []map[string]string{node, pod, service} {
			if text, ok := in[p.Name]; ok {
				out = append(out, text)
			}
		}
	}
	return out
}

// overlaps looks for Overlaps when the configuration changes, and when the Nodes become
// known.
type overlaps struct {
	config *config.Config // that was looked at
	nodes  bool           // Nodes were known
	found  []string       // then
}

// next returns the Overlaps that it has not returned before.
func (o *overlaps) next(s cluster.Tables, a condition.Observed) []string {
	cfg, known := s.Config, a.Reach != nil
	if cfg == nil || cfg == o.config && known == o.nodes {
		return nil
	}
	o.config, o.nodes = cfg, known
	var nodes []*cluster.Node
	if known {
		nodes = a.Reach.Nodes
	}
	found := Overlaps(cfg, nodes, s.Snapshot().Services)
	news := slices.DeleteFunc(slices.Clone(found), func(text string) bool { return slices.Contains(o.found, text) })
	o.found = found
	return news
}
