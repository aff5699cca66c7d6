// SPDX-License-Identifier: Apache-2.0

package condition

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

// unconnected returns why no BGP session is up that a Service could be announced over. It
// is empty if one is up, if the sessions are not known, or if the Service is announced on
// layer 2 as well.
func (j *Judge) unconnected(svc *cluster.Service, addrs []netip.Addr, o Observed) string {
	if o.Sessions == nil {
		return ""
	}
	var ads []*config.BGPAdvertisement
	for _, addr := range addrs {
		pool := j.index.Pool(addr)
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
	if svc.Local && o.Reach != nil {
		var on []string
		for _, e := range o.Reach.of(svc.Key) {
			on = append(on, e.Node)
		}
		return j.sessionsDown(ads, o, on)
	}
	// With a thousand nodes, thousands of Services have this in common.
	var key strings.Builder
	for _, ad := range ads {
		fmt.Fprintf(&key, "%p ", ad)
	}
	text, ok := j.down[key.String()]
	if !ok {
		text = j.sessionsDown(ads, o, slices.Collect(maps.Keys(o.Sessions)))
		j.down[key.String()] = text
	}
	return text
}

// sessionsDown returns why none of the sessions of these nodes is up that the
// advertisements announce over; empty if one is up, or if none of the nodes may announce.
func (j *Judge) sessionsDown(ads []*config.BGPAdvertisement, o Observed, on []string) string {
	slices.Sort(on)
	var nodes []string
	down := sessionFaults{nodes: map[string][]string{}}
	for _, node := range slices.Compact(on) {
		sessions, known := o.Sessions[node]
		mine := slices.DeleteFunc(slices.Clone(ads), func(ad *config.BGPAdvertisement) bool { return !j.mayFrom(node, ad, o.Reach) })
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
		return "no BGP peer of the advertisements has a session on " + cluster.List(nodes, ", ") + ": check the peers' nodeSelectors, and the names in the advertisements' peers"
	}
	return fmt.Sprintf("no BGP session is up on %s: %s", cluster.List(nodes, ", "), down)
}

// mayFrom reports whether an advertisement announces from a node, and nothing that is
// known of the node forbids it.
func (j *Judge) mayFrom(node string, ad *config.BGPAdvertisement, r *Reach) bool {
	if r == nil {
		return true
	}
	n, known := cluster.FindNode(r.Nodes, node)
	return known && announce.Refusal(n, known, announce.Options{IgnoreExcludeLB: j.IgnoreExclude}) == "" && ad.AppliesToNode(n.Labels)
}

// sessionFaults gathers why sessions are down. The same fault of a peer on several nodes
// is listed once.
type sessionFaults struct {
	keys  []string            // "PEER: MESSAGE", as they came
	nodes map[string][]string // by key
}

// add takes in a session that is down.
func (f *sessionFaults) add(node string, s cluster.SessionState) {
	key := s.Peer + ": " + s.Message
	if f.nodes[key] == nil {
		f.keys = append(f.keys, key)
	}
	f.nodes[key] = append(f.nodes[key], node)
}

// String lists the faults, with the nodes if there are several faults.
func (f sessionFaults) String() string {
	var out []string
	for _, key := range f.keys {
		if len(f.keys) > 1 {
			key = cluster.List(f.nodes[key], ", ") + ": " + key
		}
		out = append(out, key)
	}
	return cluster.List(out, "; ")
}
