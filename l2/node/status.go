// SPDX-License-Identifier: Apache-2.0

package node

import (
	"slices"

	"github.com/heraldlb/herald/excerpt"
	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/l2/members"
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
			one.Conflict, one.ConflictAt = a.Conflict.MAC.String(), l.claim(a.Conflict)
		}
		if a.TakenBy != (l2.Claim{}) {
			one.TakenBy = l.claim(a.TakenBy)
		}
		out.Addresses = append(out.Addresses, one)
	}
	if l.members != nil {
		v := l.members.View()
		out.Stale, out.Gossip = v.Stale, l.gossip()
		out.Members = l.membersOf(v)
	}
	return out
}

// membersOf returns the members of a view as the report shows them.
func (l *Layer2) membersOf(v members.View) []status.Member {
	peers := l.members.Peers()
	out := make([]status.Member, 0, len(v.Members))
	for _, m := range v.Members {
		one := status.Member{Node: m.Name, Leaving: m.Leaving, Damped: m.Damped, Held: len(m.Held)}
		if m.Name == l.opts.Node {
			one.Address, one.Version = l.opts.Bind, l.opts.Version
		}
		// Both are in the order of the names.
		for len(peers) > 0 && peers[0].Name < m.Name {
			peers = peers[1:]
		}
		if len(peers) > 0 && peers[0].Name == m.Name {
			p := peers[0]
			one.Address, one.Version, one.Started, one.Since = p.Addr, excerpt.Clip(excerpt.Message(p.Version)), p.Started, p.Since
		}
		out = append(out, one)
	}
	return out
}

// claim returns what another host said as the report shows it.
func (l *Layer2) claim(c l2.Claim) *status.Claim {
	return &status.Claim{MAC: c.MAC.String(), Node: l.agents.node(c.MAC), Interface: c.Interface, At: c.At}
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
