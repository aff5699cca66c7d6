// SPDX-License-Identifier: Apache-2.0

package node

import (
	"slices"

	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/status"
)

// Status returns the state of layer 2 as the report shows it.
func (l *Layer2) Status() *status.Network {
	s := l.announcer.State()
	out := &status.Network{Requests: make(map[string]uint64, len(s.Requests))}
	for drop, n := range s.Requests {
		out.Requests[drop.String()] = n
	}
	out.Claims = make(map[string]uint64, len(s.Claims))
	for result, n := range s.Claims {
		out.Claims[result.String()] = n
	}
	for _, i := range s.Interfaces {
		one := status.Interface{Name: i.Name, MAC: i.MAC.String(), ARP: i.ARP.String(), NDP: i.NDP.String()}
		if i.Err != nil {
			one.Error = i.Err.Error()
		}
		out.Interfaces = append(out.Interfaces, one)
	}
	for _, a := range s.Addresses {
		one := status.Address{
			Addr: a.Addr, Confirmed: a.Confirmed, Requests: a.Requests, Replies: a.Replies, Gratuitous: a.Gratuitous, Rival: a.Rival.Node,
		}
		for _, p := range a.Presences {
			one.On = append(one.On, status.Presence{Interface: p.Interface, Phase: p.Phase.String(), Since: p.Since})
		}
		for _, c := range a.Contenders {
			if node := l.agents.node(c.MAC); node != "" && !slices.Contains(one.Contenders, node) {
				one.Contenders = append(one.Contenders, node)
			}
		}
		if a.Conflict != (l2.Claim{}) {
			one.Conflict = a.Conflict.MAC.String()
		}
		out.Addresses = append(out.Addresses, one)
	}
	if l.members != nil {
		v := l.members.View()
		out.Stale, out.Gossip = v.Stale, l.gossip()
		for _, m := range v.Members {
			out.Members = append(out.Members, status.Member{Node: m.Name, Leaving: m.Leaving, Damped: m.Damped, Held: len(m.Held)})
		}
	}
	return out
}

// gossip returns the state of gossip as the report shows it.
func (l *Layer2) gossip() *status.Gossip {
	refused, losses := l.members.Refused(), l.members.Losses()
	out := &status.Gossip{
		RefusedPackets: refused.Packets, RefusedConnections: refused.Streams,
		LostByHeartbeats: losses.Missed, LostByProbes: losses.Probed, Returned: losses.Returned,
		UntoldProbes: l.members.Untold(),
	}
	out.Keys, out.KeyLacking = l.members.KeysPending()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keyErr != nil {
		out.KeyError = l.keyErr.Error()
	}
	return out
}
