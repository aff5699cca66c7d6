// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/config"
)

// unconnected says that no BGP session is up over which a Service could be
// announced, and why; it is empty if one is, if nothing is known of sessions, or if
// the Service is announced on layer 2 as well.
func (m *announced) unconnected(svc *Service, addrs []netip.Addr, a Announced) string {
	if a.Sessions == nil {
		return ""
	}
	var peers []string // that advertisements name; with all, any
	all, some := false, false
	nodes := map[string]bool{}
	for _, addr := range addrs {
		pool := m.pools.find(addr)
		if pool == nil {
			return ""
		}
		for _, ad := range pool.layer2 {
			if config.AnyMatches(ad.ServiceSelectors, svc.Labels) {
				return ""
			}
		}
		for _, ad := range pool.bgp {
			if !config.AnyMatches(ad.ServiceSelectors, svc.Labels) {
				continue
			}
			some, all = true, all || len(ad.Peers) == 0
			peers = append(peers, ad.Peers...)
			for node := range a.Sessions {
				if m.behind(svc, ad, a.Reach, node) {
					nodes[node] = true
				}
			}
		}
	}
	if !some || len(nodes) == 0 {
		return ""
	}
	down := sessionFaults{nodes: map[string][]string{}}
	for _, node := range slices.Sorted(maps.Keys(nodes)) {
		for _, s := range a.Sessions[node] {
			if !all && !slices.Contains(peers, s.Peer) {
				continue
			}
			if s.Up {
				return ""
			}
			down.add(node, s)
		}
	}
	names := clipList(slices.Sorted(maps.Keys(nodes)), ", ")
	if len(down.keys) == 0 {
		return "no BGP peer of the advertisements has a session on " + names + ": check the peers' nodeSelectors, and the names in the advertisements' peers"
	}
	return fmt.Sprintf("no BGP session is up on %s: %s", names, down)
}

// behind reports whether an advertisement may have a node announce a Service.
func (m *announced) behind(svc *Service, ad *config.BGPAdvertisement, r *Reach, node string) bool {
	if r == nil {
		return true
	}
	n, known := findNode(r.Nodes, node)
	if !known || refusal(n, known, AnnounceOptions{IgnoreExcludeLB: m.ignoreExclude}) != "" || !config.AnyMatches(ad.NodeSelectors, n.Labels) {
		return false
	}
	return !svc.Local || slices.ContainsFunc(r.Endpoints[svc.Key], func(e Endpoint) bool { return e.Node == node })
}

// sessionFaults gathers why sessions are down: what several nodes say of a peer is
// said once.
type sessionFaults struct {
	keys  []string            // "PEER: MESSAGE", as they came
	nodes map[string][]string // by key
}

// add takes in a session that is down.
func (f *sessionFaults) add(node string, s SessionState) {
	key := s.Peer + ": " + s.Message
	if f.nodes[key] == nil {
		f.keys = append(f.keys, key)
	}
	f.nodes[key] = append(f.nodes[key], node)
}

// String says each fault, and where it is if that differs.
func (f sessionFaults) String() string {
	var out []string
	for _, key := range f.keys {
		if len(f.keys) > 1 {
			key = clipList(f.nodes[key], ", ") + ": " + key
		}
		out = append(out, key)
	}
	return clipList(out, "; ")
}
