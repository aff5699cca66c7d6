// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// A warning is what is valid but probably not meant of one object.
type warning struct {
	of   ID     // as a resource
	name string // what to call it
	text string
}

// Warnings returns what is valid but probably not meant, one sentence each, in
// an order that depends on c alone.
func (c *Config) Warnings() []string {
	var all []string
	for _, w := range c.warnings() {
		all = append(all, w.name+": "+w.text)
	}
	return all
}

func (c *Config) warnings() []warning {
	return slices.Concat(c.peerWarnings(), c.echoWarnings(), c.routerIDWarnings(), c.routerASNWarnings(), c.poolWarnings(), c.profileWarnings(), c.communityWarnings())
}

func (p Peer) warn(format string, args ...any) warning {
	return warning{ID{KindPeer, p.Name}, p.Name, fmt.Sprintf(format, args...)}
}

func (p Pool) warn(format string, args ...any) warning {
	return warning{ID{KindPool, p.Name}, "pool " + quote(p.Name), fmt.Sprintf(format, args...)}
}

func (c *Config) peerWarnings() []warning {
	var all []warning
	for _, p := range c.Peers {
		if p.SourceAddress.IsValid() && p.Address.IsValid() && p.SourceAddress.Is4() != p.Address.Is4() {
			all = append(all, p.warn("source-address %s and peer-address %s are of different families, so that no session can come up", p.SourceAddress, p.Address))
		}
		if p.Address.IsLinkLocalUnicast() && p.Address.Is6() {
			all = append(all, p.warn("peer-address %s is link-local, and the kernel cannot tell on which interface it is", p.Address))
		}
		if p.KeepaliveTime != nil && *p.KeepaliveTime == 0 && p.HoldTime != nil && *p.HoldTime > 0 {
			all = append(all, p.warn("keepalive-time 0 sends no keepalives, so that the peer ends the session after %v", *p.HoldTime))
		}
		if p.PasswordCut {
			all = append(all, p.warn("the password ends with a line break, which is left out; echo writes one, echo -n does not"))
		}
	}
	return all
}

// echoWarnings reports peers whose BFD session is to echo and cannot: what
// counts is the family of the session, not that of its routes.
func (c *Config) echoWarnings() []warning {
	var all []warning
	for _, p := range c.Peers {
		echo := slices.ContainsFunc(c.BFDProfiles, func(b BFDProfile) bool { return b.Name == p.BFDProfile && b.EchoMode })
		switch {
		case !echo || p.Address.Is4():
		case p.Interface != "":
			all = append(all, p.warn("its BFD profile %s has echo mode, which has no effect: an unnumbered session runs over IPv6, and FRR echoes over IPv4 alone", quote(p.BFDProfile)))
		default:
			all = append(all, p.warn("its BFD profile %s has echo mode, which has no effect: the session runs over IPv6, and FRR echoes over IPv4 alone", quote(p.BFDProfile)))
		}
	}
	return all
}

// routerIDWarnings reports peers for every node that disagree on what a node
// has one of.
func (c *Config) routerIDWarnings() []warning {
	var all []warning
	first := map[string]*Peer{} // by VRF
	for i, p := range c.Peers {
		switch f := first[p.VRF]; {
		case !p.RouterID.IsValid() || !everyNode(p):
		case f == nil:
			first[p.VRF] = &c.Peers[i]
		case p.RouterID != f.RouterID:
			all = append(all, p.warn("router-id %s differs from %s of %s, and a node has one", p.RouterID, f.RouterID, f.Name))
		}
	}
	return all
}

// routerASNWarnings reports peers that cannot run together with an earlier one, where
// it is certain that some node is meant to run both.
func (c *Config) routerASNWarnings() []warning {
	var all []warning
	runs := map[string][]Peer{} // by VRF
	for _, p := range c.Peers {
		router, by, where := p.MyASN, "its myASN", "on any node"
		if i := slices.IndexFunc(runs[p.VRF], func(o Peer) bool { return mayMeet(o.NodeSelectors, p.NodeSelectors) }); i >= 0 {
			first := runs[p.VRF][i]
			router, by = first.MyASN, "as peer "+first.Name+" has it"
			if !everyNode(first) {
				where = "on nodes that are for both"
			}
		}
		if why := p.ASNConflict(router, by); why != "" {
			all = append(all, p.warn("no session can come up %s: %s; give both one AS number, or node selectors that keep them apart", where, why))
			continue
		}
		runs[p.VRF] = append(runs[p.VRF], p)
	}
	return all
}

func (c *Config) poolWarnings() []warning {
	peers := map[netip.Addr]string{}
	for _, p := range c.Peers {
		if p.Address.IsValid() {
			peers[p.Address] = p.Name
		}
	}
	addrs := slices.SortedFunc(maps.Keys(peers), netip.Addr.Compare)
	var all []warning
	for _, pool := range c.Pools {
		for _, text := range pool.Remarks {
			all = append(all, pool.warn("%s", text))
		}
		if len(pool.Addresses) == 0 && len(pool.Remarks) > 0 {
			all = append(all, pool.warn("it has no address that a Service can have"))
		}
		for _, a := range addrs {
			if slices.ContainsFunc(pool.Addresses, func(r Range) bool { return r.Contains(a) }) {
				all = append(all, pool.warn("contains %s, the address of %s", a, peers[a]))
			}
		}
		all = append(all, c.carrierWarnings(pool)...)
		all = append(all, c.anycastWarnings(pool)...)
		all = append(all, pool.reservationWarnings()...)
		if pool.Quota != nil && !pool.Separate {
			all = append(all, pool.warn("it has a quota, and %s: %s: who knows a sharing key uses addresses of other namespaces", AnnotationPoolSharing, SharingAny))
		}
	}
	return all
}

// carrierWarnings reports addresses that no peer can ever receive.
func (c *Config) carrierWarnings(pool Pool) []warning {
	var ads []BGPAdvertisement
	for _, a := range c.BGPAdvertisements {
		if a.AppliesToPool(&pool) {
			ads = append(ads, a)
		}
	}
	switch {
	case len(ads) == 0:
		return nil
	case len(c.Peers) == 0:
		return []warning{pool.warn("announced over BGP, but there are no peers")}
	}
	var all []warning
	for _, family := range []struct {
		name string
		is4  bool
	}{{"IPv4", true}, {"IPv6", false}} {
		if !slices.ContainsFunc(pool.Addresses, func(r Range) bool { return r.First.Is4() == family.is4 }) {
			continue
		}
		carried := slices.ContainsFunc(ads, func(a BGPAdvertisement) bool {
			return slices.ContainsFunc(c.Peers, func(p Peer) bool {
				return p.Carries(family.is4) && (len(a.Peers) == 0 || slices.Contains(a.Peers, p.Name))
			})
		})
		if !carried {
			which := "no peer carries"
			if !slices.ContainsFunc(ads, func(a BGPAdvertisement) bool { return len(a.Peers) == 0 }) {
				which = "no peer that its advertisements name carries"
			}
			all = append(all, pool.warn("%s %s routes; give one dualStackAddressFamily: true or an %s peerAddress", which, family.name, family.name))
		}
	}
	return all
}

// anycastWarnings reports ranges that begin with an address which routers
// answer for, where Herald is to answer for it.
func (c *Config) anycastWarnings(pool Pool) []warning {
	if !slices.ContainsFunc(c.L2Advertisements, func(a L2Advertisement) bool { return a.AppliesToPool(&pool) }) {
		return nil
	}
	var all []warning
	for _, r := range pool.Addresses {
		if SubnetRouterAnycast(r.First) {
			all = append(all, pool.warn("%s is the subnet-router anycast address of %s, for which every router on that link answers (RFC 4291); it is assigned last",
				r.First, netip.PrefixFrom(r.First, 64)))
		}
	}
	return all
}

// reservationWarnings reports reservations for Services that the pool is not
// for, as far as names of namespaces tell.
func (p Pool) reservationWarnings() []warning {
	if p.Allocation == nil || len(p.Allocation.Namespaces) == 0 || len(p.Allocation.NamespaceSelectors) > 0 {
		return nil
	}
	var all []warning
	for _, r := range p.Reservations {
		if !slices.Contains(p.Allocation.Namespaces, r.Namespace) {
			all = append(all, p.warn("%s is reserved for %s/%s, but the pool is not for namespace %s", r.Addr, r.Namespace, r.Service, r.Namespace))
		}
	}
	return all
}

func (c *Config) profileWarnings() []warning {
	var all []warning
	for _, b := range c.BFDProfiles {
		if !slices.ContainsFunc(c.Peers, func(p Peer) bool { return p.BFDProfile == b.Name }) {
			all = append(all, warning{ID{KindBFDProfile, b.Name}, "bfd profile " + quote(b.Name), "used by no peer"})
		}
	}
	return all
}

// communityWarnings reports names that stand for something else than usual.
// Which resource defines a name a Config does not know.
func (c *Config) communityWarnings() []warning {
	var all []warning
	for _, alias := range c.Communities {
		standard, known := wellKnown[alias.Name]
		if !known {
			literal, err := ParseCommunity(alias.Name)
			standard, known = literal, err == nil
		}
		if known && standard != alias.Value {
			all = append(all, warning{name: "community " + quote(alias.Name), text: fmt.Sprintf("stands for %s here, otherwise for %s", alias.Value, standard)})
		}
	}
	return all
}
