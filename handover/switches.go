// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"net/netip"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/wake"
)

// Switches are the memory of all addresses of one node. It is not safe for
// concurrent use: the loop that announces owns it.
type Switches map[netip.Addr]Switch

// Step decides about every address: those that something is known of, and those
// that nobody wants any more. It returns what to announce, without addresses
// that nothing is announced for, and when to step again should nothing change
// before; zero: no need.
func (s Switches) Step(in map[netip.Addr]Input, now time.Time, t Times) (map[netip.Addr]Output, time.Time) {
	out := make(map[netip.Addr]Output, len(in))
	var next time.Time
	for addr, input := range in {
		after, o := s[addr].Step(input, now, t)
		if after.Idle() {
			delete(s, addr)
		} else {
			s[addr] = after
		}
		if o.Announce != 0 || o.GivenUp != 0 {
			out[addr] = o
		}
		next = wake.Earlier(next, o.Next)
	}
	for addr := range s {
		if _, ok := in[addr]; !ok {
			delete(s, addr)
		}
	}
	return out, next
}

// announces reports whether an address was announced after the last step.
func (s Switches) announces(addr netip.Addr) bool { return s[addr].announced != 0 }

// Inputs puts together what is known of every address that a Service
// holds. Sent says whether routers were sent all these routes.
func Inputs(bgp announce.Desired, layer2 announce.DesiredLayer2, sent func([]netip.Prefix) bool) map[netip.Addr]Input {
	in := make(map[netip.Addr]Input, len(bgp.Decisions))
	for _, d := range bgp.Decisions {
		if d.Protocol != status.BGP {
			continue
		}
		i := in[d.Addr].with(d, ViaBGP)
		if d.Announce && sent(d.Routes) {
			i.Confirmed |= ViaBGP
		}
		in[d.Addr] = i
	}
	for _, d := range layer2.Decisions {
		in[d.Addr] = in[d.Addr].with(d, ViaLayer2)
	}
	for _, addr := range bgp.Last {
		i := in[addr]
		i.Last = true
		in[addr] = i
	}
	for addr, l := range bgp.Left {
		in[addr] = in[addr].leaving(l)
	}
	for addr, i := range in {
		i = i.draining(bgp.Drain)
		if len(layer2.Held[addr]) > 0 {
			i.Confirmed |= ViaLayer2
		}
		i.Successor = !i.Own.Has(ViaLayer2) && layer2.HandedOver(addr)
		i.Claimed = !i.Own.Has(ViaLayer2) && layer2.GivesWay(addr)
		i.NoOther = layer2.NoOther[addr]
		i.MembersUnknown = layer2.Stale
		in[addr] = i
	}
	return in
}

// draining adds how the node drains.
func (i Input) draining(d cluster.Drain) Input {
	i.Drains = !d.IsZero() && !d.Force
	i.Draining = i.Draining && !d.Force
	return i
}

// leaving adds who takes over the route.
func (i Input) leaving(s announce.Succession) Input {
	i.Left, i.Taken, i.Brief = s.Due, s.Confirmed, s.Brief
	if s.Confirmed {
		i.Confirmed |= ViaBGP
	}
	return i
}

// with adds the decision about a protocol. Services that share an address want
// together what any of them wants.
func (i Input) with(d status.Decision, p Protocols) Input {
	switch d.Reason {
	case status.NoAdvertisement, status.NoEndpoints, status.TooFewEndpoints:
		return i // no node is to announce it
	case status.NodeUnknown, status.NodeExcluded, status.NodeNetworkDown, status.NoLocalEndpoints, status.EndpointsFlap:
		// Others are to announce it, this one is unable.
	case status.NodeDraining:
		i.MayAnnounce = i.MayAnnounce || p == ViaLayer2 // where it answers until another does
		i.Draining = i.Draining || p == ViaBGP
	default:
		i.MayAnnounce = true
	}
	i.Wanted |= p
	if d.Announce {
		i.Own |= p
	}
	return i
}
