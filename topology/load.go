// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"net/netip"

	"github.com/heraldlb/herald/status"
)

// A Load is how much a node does.
type Load struct {
	Sessions  int `json:"sessions"`       // of BGP that are up
	Wanted    int `json:"wantedSessions"` // that are to be
	Routes    int `json:"routes"`         // in the Adj-RIBs-Out of all peers, as the agent says
	Addresses int `json:"addresses"`      // that it answers for on layer 2
}

// loads adds what each node does. The peers and the Services are known.
func (b *builder) loads() {
	loads := make(map[string]*Load, len(b.t.Nodes))
	for i := range b.t.Nodes {
		loads[b.t.Nodes[i].Name] = &b.t.Nodes[i].Load
	}
	for _, p := range b.t.Peers {
		for _, s := range p.Sessions {
			l := loads[s.Node]
			if l == nil || !s.Wanted {
				continue
			}
			l.Wanted++
			l.Routes += s.Sent
			if s.Up {
				l.Sessions++
			}
		}
	}
	answered := map[string]map[netip.Addr]bool{} // by node; Services share addresses
	for _, s := range b.t.Services {
		for _, v := range s.Verdicts {
			if v.Protocol != status.Layer2 || !v.Announce || !v.Confirmed {
				continue
			}
			for _, node := range v.Nodes {
				if answered[node] == nil {
					answered[node] = map[netip.Addr]bool{}
				}
				answered[node][v.Addr] = true
			}
		}
	}
	for node, addrs := range answered {
		if l := loads[node]; l != nil {
			l.Addresses = len(addrs)
		}
	}
}
