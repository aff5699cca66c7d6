// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
)

// DesiredLayer2 is what one node is to do on layer 2.
type DesiredLayer2 struct {
	Announce    []Ownership             // in address order
	Owners      map[netip.Addr]string   // the elected node, by address
	Held        map[netip.Addr][]string // which members have announced an address, sorted
	NoOther     map[netip.Addr]bool     // addresses without an owner, and which the rules allow no other node to answer for, alive or not
	Claimed     map[netip.Addr][]Claim  // nodes that gossip does not reach, that answer for an address
	NoInterface []netip.Addr            // in order: this node would own them, but no node has an interface to answer on
	Decisions   []status.Decision       // by Service and address
	Stale       bool                    // the Membership was stale; no owner is elected
}

// HandedOver reports whether the node that is elected for an address holds it.
func (d DesiredLayer2) HandedOver(addr netip.Addr) bool {
	owner, ok := d.Owners[addr]
	return ok && slices.Contains(d.Held[addr], owner)
}

// GivesWay reports whether gossip does not reach the owner of an address, but its
// announcement was heard.
func (d DesiredLayer2) GivesWay(addr netip.Addr) bool {
	owner, ok := d.Owners[addr]
	return ok && slices.ContainsFunc(d.Claimed[addr], func(c Claim) bool { return c.Node == owner })
}

// An Ownership is an address that this node is to answer for.
type Ownership struct {
	Addr       netip.Addr
	Interfaces []string  // names, sorted; none: every suitable one
	Fresh      bool      // no other agent is known to have announced it
	Rivals     []string  // other members that have announced it too, sorted: it is being handed over, or a partition has healed
	Standby    bool      // a node that gossip does not reach owns it
	StandbyOn  []string  // interfaces, sorted, on which such a node answers: answer there only what that one does not, and take over when it falls silent
	Challenged time.Time // when such a node was last heard to announce it; zero: it was not
}

// Layer2 decides which addresses a node answers for on its own network: those that it is
// elected for among the nodes that are alive and may announce them. All agents have the
// same input, so that they agree without talking to each other. There is a decision for
// every address of a pool that is advertised on layer 2.
//
// Each address is elected for by itself, also where a Service has one of each
// family. Services that share an address have one owner: a node that may
// announce it for all of them, else, if there is none, for any of them.
func Layer2(s cluster.Snapshot, node string, m Membership, opts Options) DesiredLayer2 {
	if s.Config == nil {
		return DesiredLayer2{Stale: m.Stale}
	}
	el := newLayer2Election(s.Config, s.Nodes, node, m, opts)
	all := make([]layer2Claim, 0, len(s.Services))
	for _, svc := range s.Services {
		if svc.LoadBalancer && svc.Class == opts.Class {
			all = append(all, el.claims(svc, s.Endpoints[svc.Key])...)
		}
	}
	for _, c := range all {
		el.enter(c)
	}
	return el.result(all)
}

func newLayer2Election(cfg *config.Config, nodes []*cluster.Node, node string, m Membership, opts Options) *layer2Election {
	return &layer2Election{
		opts:       opts,
		node:       node,
		stale:      m.Stale,
		electorate: newElectorate(nodes, node, m, opts),
		pools:      opts.Index.Of(cfg),
		made:       map[*Ads]*l2Class{},
		groups:     map[netip.Addr]*group{},
	}
}

// A layer2Election collects the candidates for each address of one pass.
type layer2Election struct {
	electorate
	opts   Options
	node   string
	stale  bool
	pools  *Index
	made   map[*Ads]*l2Class
	groups map[netip.Addr]*group
}

// A layer2Claim is an address of one Service.
type layer2Claim struct {
	decision           status.Decision // its Reason is why this node may not answer, whoever is elected
	selected, eligible nodeSet
	class              *l2Class
	ready              bool   // the data plane of this node serves the Service
	waits              string // why it is waited for; empty: it is not
	damped             bool   // the endpoints of the Service come and go
}

// A group is the Services that share an address.
type group struct {
	all, any    nodeSet // that may announce it for all, and for any, of the Services
	noInterface nodeSet // that may announce it for any, and lack an interface
	scores      []int   // by node: of those that may, the highest are preferred; nil: all are alike
	interfaces  []string
	everywhere  bool // on all suitable interfaces
	ready       bool // the data plane of this node serves one of the Services
	damped      bool // its endpoints come and go: this node leaves it to another one that answers
	owner       int  // of electorate.nodes, or -1; set last
}

// An l2Class is what some advertisements of a pool together make of an address.
type l2Class struct {
	none       bool // no advertisement
	selected   nodeSet
	eligible   nodeSet
	scores     []int    // by node; nil: no advertisement prefers any
	interfaces []string // on this node, with everywhere
	everywhere bool
}

// claims returns the addresses of a Service that layer 2 decides about, in their order.
func (el *layer2Election) claims(svc *cluster.Service, endpoints []cluster.Endpoint) []layer2Claim {
	var out []layer2Claim
	name := ""
	var here reach
	for i, text := range svc.Ingress {
		addr, valid := ingressAddr(text)
		if !valid || slices.Contains(svc.Ingress[:i], text) {
			continue // BGP has a decision about it
		}
		pool := el.pools.Pool(addr)
		if pool == nil || len(pool.Layer2) == 0 {
			continue
		}
		if name == "" {
			name = svc.String()
			here = newReach(endpoints, el.node)
		}
		all := pool.Ads(svc.Labels)
		c := el.class(all.With(here.of(addr.Is4()).ready))
		selected, eligible := c.selected, c.eligible
		if svc.Local {
			usable, ready := el.with(endpoints, addr.Is6())
			if some := eligible.and(ready); !some.and(el.tiers[len(el.tiers)-1]).empty() {
				usable = ready // nodes whose endpoints terminate leave it to them
			}
			selected, eligible = selected.and(usable), eligible.and(usable)
		}
		if here.refusal(addr.Is4(), false) != "" {
			selected, eligible = newNodeSet(len(el.nodes)), newNodeSet(len(el.nodes))
		}
		claim := layer2Claim{
			decision: status.Decision{
				Service: name, Addr: addr, Pool: pool.Name, Protocol: status.Layer2,
				Reason: el.refusal(c, here.refusal(addr.Is4(), svc.Local)),
			},
			selected: selected, eligible: eligible, class: c,
			damped: el.opts.Damped[Announcement{name, addr, status.Layer2}],
		}
		why, waits := el.opts.waits(ServiceAddr{name, addr})
		claim.waits, claim.ready = why, claim.decision.Reason == "" && !waits
		if c.none && len(all.Layer2) > 0 {
			claim.decision.Reason, claim.decision.Detail = status.TooFewEndpoints, fewDetail((&Ads{Layer2: all.Layer2}).Least())
		}
		out = append(out, claim)
	}
	slices.SortStableFunc(out, func(x, y layer2Claim) int { return x.decision.Addr.Compare(y.decision.Addr) })
	return out
}

// with returns the nodes that have endpoints of a family, and those that have ready ones.
func (el *layer2Election) with(endpoints []cluster.Endpoint, is6 bool) (usable, ready nodeSet) {
	usable, ready = newNodeSet(len(el.nodes)), newNodeSet(len(el.nodes))
	for _, e := range endpoints {
		if i, ok := el.index[e.Node]; ok && e.IPv6 == is6 {
			usable.add(i)
			if !e.Terminating {
				ready.add(i)
			}
		}
	}
	return usable, ready
}

// enter adds the nodes that may announce an address for a Service to those of the address.
// A Service that no node may announce does not count.
func (el *layer2Election) enter(c layer2Claim) {
	g := el.groups[c.decision.Addr]
	if g == nil {
		g = &group{}
		el.groups[c.decision.Addr] = g
	}
	g.ready, g.damped = g.ready || c.ready, g.damped || c.damped
	selected, eligible := c.selected, c.eligible
	if eligible.empty() {
		if g.noInterface != nil {
			selected = selected.or(g.noInterface)
		}
		g.noInterface = selected
		return
	}
	if g.any == nil {
		g.all, g.any, g.scores = eligible, eligible, c.class.scores
		g.interfaces, g.everywhere = c.class.interfaces, c.class.everywhere
		return
	}
	g.all, g.any, g.scores = g.all.and(eligible), g.any.or(eligible), addScores(g.scores, c.class.scores)
	g.interfaces = slices.Concat(g.interfaces, c.class.interfaces)
	g.everywhere = g.everywhere || c.class.everywhere
}

// addScores returns the sums of two lists of scores, either of which may be nil.
func addScores(a, b []int) []int {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	sum := make([]int, len(a))
	for i := range a {
		sum[i] = a[i] + b[i]
	}
	return sum
}

// class returns what advertisements make of an address, once for each set of them that
// some Service has in common with others.
func (el *layer2Election) class(ads *Ads) *l2Class {
	c := el.made[ads]
	if c == nil {
		c = el.newClass(ads.Layer2)
		el.made[ads] = c
	}
	return c
}

func (el *layer2Election) newClass(ads []*config.L2Advertisement) *l2Class {
	c := &l2Class{none: len(ads) == 0, selected: newNodeSet(len(el.nodes)), eligible: newNodeSet(len(el.nodes))}
	for i, n := range el.nodes {
		for _, ad := range ads {
			if !ad.AppliesToNode(n.Labels) {
				continue
			}
			c.selected.add(i)
			if el.answersOn(i, ad.Interfaces) {
				c.eligible.add(i)
			}
			for _, p := range ad.PreferredNodes {
				if p.Selector.Matches(n.Labels) {
					if c.scores == nil {
						c.scores = make([]int, len(el.nodes))
					}
					c.scores[i] += p.Weight
				}
			}
			if i == el.self {
				c.interfaces = append(c.interfaces, ad.Interfaces...)
				c.everywhere = c.everywhere || len(ad.Interfaces) == 0
			}
		}
	}
	return c
}

// refusal returns why the rules keep this node from answering for an address, whichever
// nodes are alive. Empty: it may answer.
func (el *layer2Election) refusal(c *l2Class, unreachable status.Reason) status.Reason {
	switch {
	case c.none:
		return status.NoAdvertisement
	case el.self < 0:
		return status.NodeUnknown
	case !c.selected.has(el.self):
		return status.NodeNotSelected
	case el.refused[el.self] != "":
		return el.refused[el.self]
	case unreachable != "":
		return unreachable
	case !el.stale && !c.eligible.has(el.self):
		return status.NoInterface
	}
	return ""
}

// result elects.
func (el *layer2Election) result(all []layer2Claim) DesiredLayer2 {
	d := DesiredLayer2{
		Owners:    make(map[netip.Addr]string, len(el.groups)),
		Held:      el.held,
		Claimed:   el.lanClaims,
		Decisions: make([]status.Decision, len(all)),
		Stale:     el.stale,
	}
	for addr, g := range el.groups {
		d.add(addr, el.settle(addr, g))
	}
	slices.SortFunc(d.Announce, func(a, b Ownership) int { return a.Addr.Compare(b.Addr) })
	slices.SortFunc(d.NoInterface, netip.Addr.Compare)
	for i, c := range all {
		d.Decisions[i] = el.decide(c)
	}
	return d
}

// An Election is what is known of an address on layer 2. It is read-only.
type Election struct {
	Owner       string     // the elected node; empty: none is
	Announce    *Ownership // nil: this node does not answer
	NoOther     bool       // see DesiredLayer2
	NoInterface bool       // see DesiredLayer2
	Held        []string   // which members have announced it, sorted
	Claimed     []Claim    // nodes that gossip does not reach, that answer for it
}

// add adds what came of the election for an address.
func (d *DesiredLayer2) add(addr netip.Addr, e Election) {
	if e.Owner != "" {
		d.Owners[addr] = e.Owner
	}
	if e.NoOther {
		if d.NoOther == nil {
			d.NoOther = map[netip.Addr]bool{}
		}
		d.NoOther[addr] = true
	}
	if e.NoInterface {
		d.NoInterface = append(d.NoInterface, addr)
	}
	if e.Announce != nil {
		d.Announce = append(d.Announce, *e.Announce)
	}
}

// settle elects the owner of an address.
func (el *layer2Election) settle(addr netip.Addr, g *group) Election {
	e := Election{Held: el.held[addr], Claimed: el.lanClaims[addr]}
	g.owner = -1
	if g.any != nil && !el.stale {
		g.owner = el.elect(addr, g.all, g.scores)
		if g.owner < 0 {
			g.owner = el.elect(addr, g.any, g.scores)
		}
	}
	elected := g.owner
	e.NoInterface = elected < 0 && el.self >= 0 && !el.stale && el.lacksInterface(addr, g)
	if i := el.claimant(addr, g.owner, g.scores); i >= 0 {
		g.owner = i
	}
	if g.owner >= 0 {
		e.Owner = el.nodes[g.owner].Name
	} else {
		e.NoOther = !el.stale && !el.due(g)
	}
	if elected >= 0 && elected == el.self && g.ready {
		l := el.announcement(addr, g)
		l.Standby, l.StandbyOn = g.owner != elected, el.claimed(addr, elected, g.scores)
		if g.damped = g.damped && el.served(g, l.Rivals); !g.damped {
			e.Announce = &l
		}
	}
	return e
}

// served reports whether one of these nodes, which answer for an address, would be elected
// if this one were not there.
func (el *layer2Election) served(g *group, holders []string) bool {
	return slices.ContainsFunc(holders, func(name string) bool {
		i, known := el.index[name]
		return known && g.any.has(i) && el.refused[i] == "" && !el.members[i].Leaving && el.nodes[i].Drain.IsZero()
	})
}

// due reports whether the rules allow another node to answer for an address, alive or
// not.
func (el *layer2Election) due(g *group) bool {
	for i := range el.nodes {
		may := g.any != nil && g.any.has(i) || g.noInterface != nil && g.noInterface.has(i)
		if may && i != el.self && el.refused[i] == "" {
			return true
		}
	}
	return false
}

// lacksInterface reports whether this node would own an address without an owner if interfaces
// did not matter. That node reports it.
func (el *layer2Election) lacksInterface(addr netip.Addr, g *group) bool {
	return g.any == nil && g.noInterface != nil && el.elect(addr, g.noInterface, nil) == el.self
}

func (el *layer2Election) announcement(addr netip.Addr, g *group) Ownership {
	l := Ownership{Addr: addr}
	if !g.everywhere {
		l.Interfaces = slices.Compact(slices.Sorted(slices.Values(g.interfaces)))
	}
	for _, name := range el.held[addr] {
		if name != el.node {
			l.Rivals = append(l.Rivals, name)
		}
	}
	// That this node holds it on one interface says nothing about the others.
	l.Fresh = len(l.Rivals) == 0 && !el.departed[addr]
	for _, c := range el.lanClaims[addr] {
		if c.At.After(l.Challenged) {
			l.Challenged = c.At
		}
	}
	return l
}

// decide completes the decision about an address of a Service.
func (el *layer2Election) decide(c layer2Claim) status.Decision {
	d, g := c.decision, el.groups[c.decision.Addr]
	owner := ""
	if g.owner >= 0 {
		owner = el.nodes[g.owner].Name
	}
	switch {
	case d.Reason != "":
	case owner == "" && el.self >= 0 && el.nodes[el.self].Drain.Force && !el.stale:
		d.Reason = status.NodeDraining // and there is no other
	case owner == "":
		d.Reason = status.MembersUnknown
	case owner == el.node && !g.ready:
		d.Reason, d.Detail = status.DataPlaneNotReady, c.waits
		return d
	case owner == el.node && g.damped:
		d.Reason = status.EndpointsFlap
		return d
	case owner == el.node:
		d.Announce, d.Reason = true, status.Announced
		if !el.nodes[el.self].Drain.IsZero() {
			d.Detail, d.Last = LastAnnouncer(noOther), true
		} else {
			d.Detail = el.opts.Readiness.Waived[ServiceAddr{d.Service, d.Addr}]
		}
		return d
	case el.members[el.self].Leaving:
		d.Reason = status.NodeLeaving
	case !el.nodes[el.self].Drain.IsZero():
		d.Reason = status.NodeDraining
	case el.members[el.self].Damped && !el.members[g.owner].Damped:
		d.Reason = status.NodeDamped
	default:
		d.Reason = status.NotOwner
	}
	if owner != "" {
		d.Detail = "the owner is " + owner
	}
	return d
}
