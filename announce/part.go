// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// A Part is a route that a node is not to send to a neighbor any more, though it goes on
// announcing the address.
type Part struct {
	Prefix     netip.Prefix
	Neighbor   status.PeerID
	Peer       string     // the neighbor's name
	Succession Succession // of the nodes that are to send it
}

// Detail says why the neighbor still gets the route.
func (p Part) Detail() string {
	why := p.Succession.Detail
	if p.Succession.Confirmed {
		why = "another node sends it, and routers follow"
	}
	return "peer " + p.Peer + " gets the route until another node sends it: " + why
}

// leftOut returns those of the advertisements that do not apply on this node, or whose probe
// says so. They are not among those that do.
func (a *announcer) leftOut(all, apply *Ads) *Ads {
	return all.onlyBGP(func(ad *config.BGPAdvertisement) bool {
		return !ad.AppliesToNode(a.policies.node.Labels) || !slices.Contains(apply.BGP, ad)
	})
}

// part records which neighbors this node sent the routes of an address, and is to send them no
// more, while other nodes are: another advertisement remains, for other peers. faults are
// those of the probes.
func (a *announcer) part(o offer, d status.Decision, svc *cluster.Service, endpoints []cluster.Endpoint) {
	if o.leftOut == nil || !d.Announce || a.opts.Announces == nil || a.opts.Members.Disabled {
		return
	}
	is4 := d.Addr.Is4()
	for _, r := range a.policies.everywhere().of(o.leftOut, is4).routes {
		prefix := netip.PrefixFrom(d.Addr, r.bits).Masked()
		a.asked = append(a.asked, prefix)
		now, _ := a.opts.Sends.Get(prefix)
		for _, at := range a.policies.classes.list[r.class].Attributes {
			if a.policies.sends(o.policy, r.bits, at.Neighbor) || !Sends(now, at.Neighbor) {
				continue
			}
			name := a.policies.name(at.Neighbor)
			s := a.succession().of(svc, o.pool, d.Addr, endpoints, name, o.faults...)
			if !s.Due {
				continue
			}
			if a.parted == nil {
				a.parted = map[netip.Addr][]Part{}
			}
			s.Brief = len(o.faults) > 0
			a.parted[d.Addr] = append(a.parted[d.Addr], Part{prefix, at.Neighbor, name, s})
		}
	}
}

// resume has a node go on, for its first decisions, with a route that FRR was found to announce
// and that is to be left to other nodes, wholly or to some neighbors: whether one of them
// sends it is not known yet.
func (a *announcer) resume(o *offer, svc *cluster.Service, reach reach) {
	d := &o.decision
	is4 := d.Addr.Is4()
	if a.opts.Resumes == nil || reach.refusal(is4, svc.Local) != "" {
		return
	}
	switch d.Reason {
	case "":
		if !o.open || o.leftOut == nil {
			return
		}
	case status.ProbeFailed:
		if len(o.faults) == 0 {
			return // no node is to announce what fails
		}
	case status.NodeNotSelected, status.NodeExcluded, status.EndpointsTerminating:
	default:
		return
	}
	whole := a.policies.everywhere().of(o.pool.Ads(svc.Labels).With(reach.of(is4).ready), is4)
	routes, resumed := []policyRoute(nil), false
	for _, r := range whole.routes {
		name := a.opts.Resumes(netip.PrefixFrom(d.Addr, r.bits).Masked())
		i := slices.IndexFunc(o.policy.routes, func(n policyRoute) bool { return n.bits == r.bits })
		switch {
		case !o.open && name != "", o.open && name == render.RouteMap(*a.policies.classes.list[r.class]):
			routes, resumed = append(routes, r), true
		case o.open && i >= 0:
			routes = append(routes, o.policy.routes[i])
		}
	}
	if !resumed {
		return
	}
	if d.Reason != "" {
		d.Detail = string(d.Reason) + ", but the agent before this one announced it"
	}
	whole.routes = routes
	o.policy, o.open, d.Reason = whole, true, ""
}

// everywhere returns policies by which all advertisements apply to this node.
func (p *policies) everywhere() policies {
	if p.unselected == nil {
		p.unselected = &policies{node: p.node, sessions: p.sessions, classes: p.classes, made: map[*Ads][2]policy{}, shutdown: p.shutdown, all: true}
	}
	return *p.unselected
}

// sends reports whether a policy has a route of a length for a neighbor.
func (p policies) sends(of policy, bits int, to status.PeerID) bool {
	return slices.ContainsFunc(of.routes, func(r policyRoute) bool {
		return r.bits == bits && hasNeighbor(p.classes.list[r.class], to)
	})
}

// name returns the name of the peer that a neighbor is.
func (p policies) name(of status.PeerID) string {
	i := slices.IndexFunc(p.sessions, func(s session) bool { return s.id == of })
	return p.sessions[i].name
}

// hasNeighbor reports whether routes of a class are sent to a neighbor.
func hasNeighbor(c *render.Class, n status.PeerID) bool {
	return slices.ContainsFunc(c.Attributes, func(a render.Attributes) bool { return a.Neighbor == n })
}

// routeAsks are the Services whose decisions depend on who gets a route now.
type routeAsks struct {
	routes map[cluster.Key][]netip.Prefix
	by     map[netip.Prefix]map[cluster.Key]bool
	sends  Networks // when they were decided about
}

// differing adds the Services that a change of what is sent concerns to services.
func (a *routeAsks) differing(now Networks, services map[cluster.Key]bool) {
	for c := range table.Diff(a.sends, now, table.Same) {
		for key := range a.by[c.Key] {
			services[key] = true
		}
	}
	a.sends = now
}

// set replaces the routes that a Service's decisions depend on.
func (a *routeAsks) set(key cluster.Key, routes []netip.Prefix) {
	before := a.routes[key]
	if len(before)+len(routes) == 0 || slices.Equal(before, routes) {
		return
	}
	if a.routes == nil {
		a.routes, a.by = map[cluster.Key][]netip.Prefix{}, map[netip.Prefix]map[cluster.Key]bool{}
	}
	for _, r := range before {
		if delete(a.by[r], key); len(a.by[r]) == 0 {
			delete(a.by, r)
		}
	}
	for _, r := range routes {
		if a.by[r] == nil {
			a.by[r] = map[cluster.Key]bool{}
		}
		a.by[r][key] = true
	}
	if a.routes[key] = routes; len(routes) == 0 {
		delete(a.routes, key)
	}
}

// Sends reports whether a class has a neighbor; nil has none.
func Sends(c *render.Class, to status.PeerID) bool { return c != nil && hasNeighbor(c, to) }

// KeepNeighbors returns networks with the routes of old, as they were, for those neighbors that
// kept has and that do not get the route now, be it for others or for none.
func KeepNeighbors(now, old Networks, kept map[netip.Prefix][]status.PeerID) Networks {
	if len(kept) == 0 {
		return now
	}
	with := now.Edit()
	for prefix, neighbors := range kept {
		class, is := now.Get(prefix)
		was, had := old.Get(prefix)
		if !had || class == was {
			continue
		}
		if !is {
			class = &render.Class{}
		}
		switch wider := withNeighbors(class, was, neighbors); {
		case wider.String() == was.String():
			with.Set(prefix, was)
		case wider != class:
			with.Set(prefix, wider)
		}
	}
	return with.Table()
}

// KeepNeighborsOf is KeepNeighbors for lists.
func KeepNeighborsOf(c, old render.Config, kept map[netip.Prefix][]status.PeerID) render.Config {
	if len(kept) == 0 {
		return c
	}
	all := routes{classes: newClasses(), owners: make(map[netip.Prefix]owner, len(c.Networks))}
	for _, n := range c.Networks {
		class := &c.Classes[n.Class]
		if was := ClassOf(old, n.Prefix); was != nil {
			class = withNeighbors(class, was, kept[n.Prefix])
		}
		all.owners[n.Prefix] = owner{class: all.classes.index(*class)}
	}
	for prefix, neighbors := range kept {
		if _, is := all.owners[prefix]; is {
			continue
		}
		if was := ClassOf(old, prefix); was != nil {
			if class := withNeighbors(&render.Class{}, was, neighbors); len(class.Attributes) > 0 {
				all.owners[prefix] = owner{class: all.classes.index(*class)}
			}
		}
	}
	c.Classes, c.Networks = all.render()
	return c
}

// ClassOf returns how a route is announced; nil: it is not.
func ClassOf(c render.Config, prefix netip.Prefix) *render.Class {
	i, ok := slices.BinarySearchFunc(c.Networks, prefix, func(n render.Network, p netip.Prefix) int {
		return cmp.Or(n.Prefix.Addr().Compare(p.Addr()), cmp.Compare(n.Prefix.Bits(), p.Bits()))
	})
	if !ok {
		return nil
	}
	return &c.Classes[c.Networks[i].Class]
}

// withNeighbors returns a class that sends these neighbors what another one does, if it sends
// them nothing.
func withNeighbors(class, other *render.Class, neighbors []status.PeerID) *render.Class {
	more := slices.DeleteFunc(slices.Clone(other.Attributes), func(a render.Attributes) bool {
		return hasNeighbor(class, a.Neighbor) || !slices.Contains(neighbors, a.Neighbor)
	})
	if len(more) == 0 {
		return class
	}
	all := append(slices.Clone(class.Attributes), more...)
	slices.SortFunc(all, func(a, b render.Attributes) int { return a.Neighbor.Compare(b.Neighbor) })
	return &render.Class{Attributes: all}
}
