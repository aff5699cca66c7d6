// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
)

// unconnected says that no BGP session is up over which a Service could be
// announced, and why; it is empty if one is, if nothing is known of sessions, or if
// the Service is announced on layer 2 as well.
func (m *announced) unconnected(svc *cluster.Service, addrs []netip.Addr, a Announced) string {
	if a.Sessions == nil {
		return ""
	}
	var ads []*config.BGPAdvertisement
	for _, addr := range addrs {
		pool := m.index.Pool(addr)
		if pool == nil {
			return ""
		}
		apply := pool.Ads(svc.Labels)
		if len(apply.Layer2) > 0 {
			return ""
		}
		for _, ad := range apply.BGP {
			if !slices.Contains(ads, ad) {
				ads = append(ads, ad)
			}
		}
	}
	if len(ads) == 0 {
		return ""
	}
	if svc.Local && a.Reach != nil {
		var on []string
		for _, e := range a.Reach.Endpoints[svc.Key] {
			on = append(on, e.Node)
		}
		return m.sessionsDown(ads, a, on)
	}
	// With a thousand nodes, thousands of Services have this in common.
	var key strings.Builder
	for _, ad := range ads {
		fmt.Fprintf(&key, "%p ", ad)
	}
	text, ok := m.down[key.String()]
	if !ok {
		text = m.sessionsDown(ads, a, slices.Collect(maps.Keys(a.Sessions)))
		m.down[key.String()] = text
	}
	return text
}

// sessionsDown says why none of the sessions is up that advertisements announce over
// from some of these nodes; it is empty if one is, or if none of the nodes may.
func (m *announced) sessionsDown(ads []*config.BGPAdvertisement, a Announced, on []string) string {
	slices.Sort(on)
	var nodes []string
	down := sessionFaults{nodes: map[string][]string{}}
	for _, node := range slices.Compact(on) {
		sessions, known := a.Sessions[node]
		mine := slices.DeleteFunc(slices.Clone(ads), func(ad *config.BGPAdvertisement) bool { return !m.mayFrom(node, ad, a.Reach) })
		if !known || len(mine) == 0 {
			continue
		}
		nodes = append(nodes, node)
		for _, s := range sessions {
			over := func(ad *config.BGPAdvertisement) bool { return len(ad.Peers) == 0 || slices.Contains(ad.Peers, s.Peer) }
			switch {
			case !slices.ContainsFunc(mine, over):
			case s.Up:
				return ""
			default:
				down.add(node, s)
			}
		}
	}
	switch {
	case len(nodes) == 0:
		return ""
	case len(down.keys) == 0:
		return "no BGP peer of the advertisements has a session on " + clipList(nodes, ", ") + ": check the peers' nodeSelectors, and the names in the advertisements' peers"
	}
	return fmt.Sprintf("no BGP session is up on %s: %s", clipList(nodes, ", "), down)
}

// mayFrom reports whether an advertisement announces from a node, and nothing is
// known of the node that forbids it.
func (m *announced) mayFrom(node string, ad *config.BGPAdvertisement, r *Reach) bool {
	if r == nil {
		return true
	}
	n, known := cluster.FindNode(r.Nodes, node)
	return known && announce.Refusal(n, known, announce.Options{IgnoreExcludeLB: m.ignoreExclude}) == "" && ad.AppliesToNode(n.Labels)
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
