// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// Warnings returns what is valid but probably not meant, one sentence each, in
// an order that depends on c alone.
func (c *Config) Warnings() []string {
	return slices.Concat(c.peerWarnings(), c.routerIDWarnings(), c.poolWarnings(), c.profileWarnings(), c.communityWarnings())
}

func (c *Config) peerWarnings() []string {
	var all []string
	for _, p := range c.Peers {
		if p.SourceAddress.IsValid() && p.Address.IsValid() && p.SourceAddress.Is4() != p.Address.Is4() {
			all = append(all, fmt.Sprintf("%s: source-address %s and peer-address %s are of different families, so that no session can come up", p.Name, p.SourceAddress, p.Address))
		}
		if p.Address.IsLinkLocalUnicast() && p.Address.Is6() {
			all = append(all, fmt.Sprintf("%s: peer-address %s is link-local, and the kernel cannot tell on which interface it is", p.Name, p.Address))
		}
		if p.KeepaliveTime != nil && *p.KeepaliveTime == 0 && p.HoldTime != nil && *p.HoldTime > 0 {
			all = append(all, fmt.Sprintf("%s: keepalive-time 0 sends no keepalives, so that the peer ends the session after %v", p.Name, *p.HoldTime))
		}
	}
	return all
}

// routerIDWarnings reports peers for every node that disagree on what a node
// has one of.
func (c *Config) routerIDWarnings() []string {
	var all []string
	var first *Peer
	for i, p := range c.Peers {
		switch {
		case !p.RouterID.IsValid() || !everyNode(p):
		case first == nil:
			first = &c.Peers[i]
		case p.RouterID != first.RouterID:
			all = append(all, fmt.Sprintf("%s: router-id %s differs from %s of %s, and a node has one", p.Name, p.RouterID, first.RouterID, first.Name))
		}
	}
	return all
}

func (c *Config) poolWarnings() []string {
	peers := map[netip.Addr]string{}
	for _, p := range c.Peers {
		if p.Address.IsValid() {
			peers[p.Address] = p.Name
		}
	}
	addrs := slices.SortedFunc(maps.Keys(peers), netip.Addr.Compare)
	var all []string
	for _, pool := range c.Pools {
		for _, a := range addrs {
			if slices.ContainsFunc(pool.Addresses, func(r Range) bool { return r.Contains(a) }) {
				all = append(all, fmt.Sprintf("pool %s: contains %s, the address of %s", quote(pool.Name), a, peers[a]))
			}
		}
		bgp := slices.ContainsFunc(c.BGPAdvertisements, func(a BGPAdvertisement) bool { return a.selects(&pool) })
		if bgp && len(c.Peers) == 0 {
			all = append(all, fmt.Sprintf("pool %s: announced over BGP, but there are no peers", quote(pool.Name)))
		}
		all = append(all, pool.reservationWarnings()...)
	}
	return all
}

// reservationWarnings reports reservations for Services that the pool is not
// for, as far as names of namespaces tell.
func (p Pool) reservationWarnings() []string {
	if p.Allocation == nil || len(p.Allocation.Namespaces) == 0 || len(p.Allocation.NamespaceSelectors) > 0 {
		return nil
	}
	var all []string
	for _, r := range p.Reservations {
		if !slices.Contains(p.Allocation.Namespaces, r.Namespace) {
			all = append(all, fmt.Sprintf("pool %s: %s is reserved for %s/%s, but the pool is not for namespace %s",
				quote(p.Name), r.Addr, r.Namespace, r.Service, r.Namespace))
		}
	}
	return all
}

func (c *Config) profileWarnings() []string {
	var all []string
	for _, b := range c.BFDProfiles {
		if !slices.ContainsFunc(c.Peers, func(p Peer) bool { return p.BFDProfile == b.Name }) {
			all = append(all, fmt.Sprintf("bfd profile %s: used by no peer", quote(b.Name)))
		}
	}
	return all
}

func (c *Config) communityWarnings() []string {
	var all []string
	for _, alias := range c.Communities {
		standard, known := wellKnown[alias.Name]
		if !known {
			literal, err := ParseCommunity(alias.Name)
			standard, known = literal, err == nil
		}
		if known && standard != alias.Value {
			all = append(all, fmt.Sprintf("community %s: stands for %s here, otherwise for %s", quote(alias.Name), alias.Value, standard))
		}
	}
	return all
}
