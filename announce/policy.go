// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
)

// A policy is what some advertisements of a pool together make of an address.
type policy struct {
	reason status.Reason // why they announce nothing; empty if they may
	detail string
	routes []policyRoute // none: no peer of theirs runs here
	peers  []string      // that get one of the routes: names, sorted
	partly bool          // some advertisements do not apply to this node
}

// A policyRoute is the route that an address is part of.
type policyRoute struct {
	bits  int // length of the prefix
	class int // index of classes
}

// policies makes policies, once for each set of advertisements that some
// Service has in common with others.
type policies struct {
	node     cluster.Node
	sessions []session
	classes  *classes
	made     map[*Ads][2]policy // of IPv4 and IPv6
	shutdown bool               // the node drains: all its routes carry graceful shutdown
	all      bool               // advertisements apply to the node whatever nodes they select

	unselected *policies // the same with all; nil: not needed yet
}

// of returns the policy that these advertisements make of an address of a family.
func (p policies) of(ads *Ads, is4 bool) policy {
	both, ok := p.made[ads]
	if !ok {
		both = [2]policy{p.newPolicy(ads.BGP, true), p.newPolicy(ads.BGP, false)}
		p.made[ads] = both
	}
	if is4 {
		return both[0]
	}
	return both[1]
}

func (p policies) newPolicy(ads []*config.BGPAdvertisement, is4 bool) policy {
	if len(ads) == 0 {
		return policy{reason: status.NoAdvertisement}
	}
	there := len(ads)
	ads = slices.DeleteFunc(slices.Clone(ads), func(ad *config.BGPAdvertisement) bool {
		return !p.all && !ad.AppliesToNode(p.node.Labels)
	})
	if len(ads) == 0 {
		return policy{reason: status.NodeNotSelected}
	}
	out := policy{partly: len(ads) < there}
	byBits := map[int]render.Class{}
	for _, ad := range ads {
		bits := cmp.Or(ad.AggregationLengthV6, 128)
		if is4 {
			bits = cmp.Or(ad.AggregationLength, 32)
		}
		merged, conflicts := mergeClasses(byBits[bits], p.class(ad, is4))
		if len(conflicts) > 0 {
			c := conflicts[0]
			return policy{
				reason: c.reason,
				detail: fmt.Sprintf("advertisement %q gives routes of /%d to %s %s %s, an earlier one %s",
					ad.Name, bits, c.neighbor, c.what, c.wanted, c.is),
			}
		}
		byBits[bits] = merged
	}
	for bits, class := range byBits {
		if len(class.Attributes) > 0 {
			out.routes = append(out.routes, policyRoute{bits, p.classes.index(class)})
			out.peers = append(out.peers, p.names(class)...)
		}
	}
	slices.SortFunc(out.routes, func(a, b policyRoute) int { return cmp.Compare(a.bits, b.bits) })
	slices.Sort(out.peers)
	out.peers = slices.Compact(out.peers)
	return out
}

// class returns how ad announces routes of a family to the peers that run here.
func (p policies) class(ad *config.BGPAdvertisement, is4 bool) render.Class {
	var c render.Class
	for _, s := range p.sessions {
		if !s.carries(is4) || len(ad.Peers) > 0 && !slices.Contains(ad.Peers, s.name) {
			continue
		}
		at := render.Attributes{
			Neighbor:         s.id,
			Communities:      unionCommunities(ad.Communities, nil),
			MED:              render.NewMetric(ad.MED),
			GracefulShutdown: ad.GracefulShutdown || p.shutdown,
		}
		if s.internal {
			at.LocalPref = ad.Preference(is4) // RFC 4271, Section 5.1.5: not sent to external peers
		} else if ad.Prepend > 0 {
			// An internal peer would find its own AS in the path, and drop the route.
			at.Prepend = slices.Repeat([]uint32{s.shown}, ad.Prepend)
		}
		c.Attributes = append(c.Attributes, at)
	}
	return c
}

// names returns the names of the peers that get routes of a class.
func (p policies) names(c render.Class) []string {
	var out []string
	for _, s := range p.sessions {
		if slices.ContainsFunc(c.Attributes, func(a render.Attributes) bool { return a.Neighbor == s.id }) {
			out = append(out, s.name)
		}
	}
	return out
}

// told returns the names of the peers of a policy that get a route of it for
// addr, given which routes are kept from whom.
func (p policies) told(of policy, addr netip.Addr, kept []conflict) []string {
	var out []string
	for _, r := range of.routes {
		prefix := netip.PrefixFrom(addr, r.bits).Masked()
		class := *p.classes.list[r.class]
		class.Attributes = slices.DeleteFunc(slices.Clone(class.Attributes), func(a render.Attributes) bool {
			return slices.ContainsFunc(kept, func(c conflict) bool { return c.prefix == prefix && c.neighbor == a.Neighbor })
		})
		out = append(out, p.names(class)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// fewDetail says which number of ready endpoints an advertisement asks for.
func fewDetail(least int, ad string) string {
	return fmt.Sprintf("advertisement %q asks for %d ready endpoints", ad, least)
}

// unionCommunities returns the communities of both, sorted.
func unionCommunities(a, b []config.Community) []config.Community {
	out := slices.Concat(a, b)
	slices.SortFunc(out, config.Community.Compare)
	return slices.Compact(out)
}
