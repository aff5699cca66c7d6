// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/status"
)

// A Route is a prefix that a node is to send to a peer. Addresses of several Services may
// need the same one.
type Route struct {
	Node     string       `json:"node"`
	Peer     string       `json:"peer"`
	Prefix   netip.Prefix `json:"prefix"`
	Services []string     `json:"services"` // as namespace/name
	Sent     bool         `json:"sent"`     // it is in the peer's Adj-RIB-Out
	From     string       `json:"from"`     // who says so
}

// Routes returns the routes that nodes are to send, by node, peer and prefix.
func (t Topology) Routes() []Route {
	type key struct {
		node, peer string
		prefix     netip.Prefix
	}
	all := map[key]*Route{}
	for _, s := range t.Services {
		for _, v := range s.Verdicts {
			if v.Protocol != status.BGP || !v.Announce {
				continue
			}
			for _, node := range v.Nodes {
				for _, peer := range v.Peers {
					for _, prefix := range v.Routes {
						r := all[key{node, peer, prefix}]
						if r == nil {
							r = &Route{Node: node, Peer: peer, Prefix: prefix, From: v.From}
							all[key{node, peer, prefix}] = r
						}
						r.Sent = r.Sent || slices.Contains(v.Sent, peer)
						if !slices.Contains(r.Services, s.Name) {
							r.Services = append(r.Services, s.Name)
						}
					}
				}
			}
		}
	}
	out := make([]Route, 0, len(all))
	for _, r := range all {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(x, y Route) int {
		return cmp.Or(strings.Compare(x.Node, y.Node), strings.Compare(x.Peer, y.Peer),
			x.Prefix.Addr().Compare(y.Prefix.Addr()), cmp.Compare(x.Prefix.Bits(), y.Prefix.Bits()))
	})
	return out
}
