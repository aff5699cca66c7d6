// SPDX-License-Identifier: Apache-2.0

// Package announce decides what a node announces: its routes and BGP sessions, and
// the addresses that it owns on layer 2. It is pure.
package announce

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/excerpt"
	"github.com/heraldlb/herald/status"
)

// BGP decides what a node announces: which routes, to which peers, with
// which attributes, and for every address of a Service why it is announced or
// not. A node has sessions with all peers that select it, with or without routes to
// announce, so that the first route waits for none. Without a configuration the result is
// zero.
func BGP(s cluster.Snapshot, node string, opts Options) Desired {
	if s.Config == nil {
		return Desired{}
	}
	a, d := newAnnouncer(s.Config, s.Nodes, node, opts, newClasses())
	a.decisions = make([]status.Decision, 0, len(s.Services))
	routes := routes{classes: a.policies.classes, owners: make(map[netip.Prefix]owner, len(s.Services))}
	for _, svc := range s.Services {
		if a.concerns(svc) {
			endpoints := s.Endpoints[svc.Key]
			a.conclude(svc, endpoints, a.offers(svc, endpoints), routes.add)
		}
	}
	d.Decisions, d.Last, d.Unseen = a.decisions, a.last, a.unseen
	d.Left, d.Parted, d.Kept, d.Alone = a.left, a.parted, a.kept, a.alone
	d.BGP.Classes, d.BGP.Networks = routes.render()
	return d
}

// newAnnouncer returns the announcer of a node, and what the node is to do whatever Services
// there are.
func newAnnouncer(cfg *config.Config, nodes []*cluster.Node, node string, opts Options, classes *classes) (*announcer, Desired) {
	n, known := cluster.FindNode(nodes, node)
	switch {
	case known:
	case opts.Gone != nil:
		n = *opts.Gone
	case opts.Address.IsValid():
		n.Addrs = []netip.Addr{opts.Address}
	}
	d := Desired{Drain: n.Drain}
	var sessions []session
	d.BGP, d.Peers, sessions = sessionsOf(*cfg, n, known || opts.Gone != nil, opts.Kept)
	d.MadeID = madeID(d.BGP, n)
	a := &announcer{
		config:   cfg,
		nodes:    nodes,
		opts:     opts,
		refused:  Refusal(n, known, opts),
		node:     node,
		index:    opts.Index.Of(cfg),
		policies: policies{node: n, sessions: sessions, classes: classes, made: map[*Ads][2]policy{}},
	}
	a.drain(n)
	return a, d
}

// Refusal returns why a node announces nothing at all. Empty: it may announce.
func Refusal(n cluster.Node, known bool, opts Options) status.Reason {
	_, excluded := n.Labels[LabelExcludeNode]
	switch {
	case !known:
		return status.NodeUnknown
	case n.NetworkUnavailable:
		return status.NodeNetworkDown
	case excluded && !opts.IgnoreExcludeLB:
		return status.NodeExcluded
	}
	return ""
}

// An announcer collects the decisions of one pass.
type announcer struct {
	config   *config.Config
	nodes    []*cluster.Node
	opts     Options
	node     string
	refused  status.Reason // why this node announces nothing; empty if it may
	index    *Index
	policies policies
	drained  *withdrawal // nil: the node does not drain
	others   *succession // nil: not needed yet

	consulted bool         // it was asked what other nodes do
	last      []netip.Addr // this node drains, and no other was seen to announce them
	unseen    []netip.Addr // likewise, but this one does not announce it either
	left      map[netip.Addr]Succession
	parted    map[netip.Addr][]Part
	asked     []netip.Prefix // routes of which it matters who gets them now
	kept      map[string]Succession
	alone     int
	decisions []status.Decision
	prefixes  []netip.Prefix // holds the Routes of all decisions
}

// An offer is what is decided about an address of a Service without a look at the routes of
// other Services.
type offer struct {
	decision status.Decision
	pool     *Pool // nil: the decision is complete
	policy   policy
	open     bool    // the address is announced as policy says, unless other Services conflict
	faults   []Fault // of probes that fail here, and are answered on other nodes
	leftOut  *Ads    // advertisements that do not apply here, but to other nodes; nil: none
}

// concerns reports whether the agents announce a Service.
func (a *announcer) concerns(svc *cluster.Service) bool {
	return svc.LoadBalancer && svc.Class == a.opts.Class
}

// offers decides about all addresses of a Service.
func (a *announcer) offers(svc *cluster.Service, endpoints []cluster.Endpoint) []offer {
	name := svc.String()
	if len(svc.Ingress) == 0 {
		return []offer{{decision: status.Decision{Service: name, Reason: status.NoAddress}}}
	}
	out := make([]offer, 0, len(svc.Ingress))
	reach := newReach(endpoints, a.node)
	var invalid []string
	for i, text := range svc.Ingress {
		addr, valid := ingressAddr(text)
		switch {
		case slices.Contains(svc.Ingress[:i], text):
		case !valid:
			invalid = append(invalid, text)
		default:
			o := offer{decision: status.Decision{Service: name, Addr: addr}}
			if o.pool = a.index.Pool(addr); o.pool == nil {
				o.decision.Reason = status.NotInPool
			} else {
				o.decision.Pool = o.pool.Name
			}
			if o.pool != nil && len(o.pool.BGP) > 0 {
				a.overBGP(&o, svc, reach, endpoints)
				a.resume(&o, svc, reach)
			}
			out = append(out, o)
		}
	}
	if len(invalid) > 0 {
		d := status.Decision{Service: name, Reason: status.InvalidAddress, Detail: "status has " + excerpt.Quote(invalid[0])}
		if more := len(invalid) - 1; more > 0 {
			d.Detail += fmt.Sprintf(" and %d more", more)
		}
		out = append(out, offer{decision: d})
	}
	return out
}

// overBGP completes an offer to announce an address of a pool.
func (a *announcer) overBGP(o *offer, svc *cluster.Service, reach reach, endpoints []cluster.Endpoint) {
	d := &o.decision
	d.Protocol = status.BGP
	is4 := d.Addr.Is4()
	ads := o.pool.Ads(svc.Labels)
	enough := ads.With(reach.of(is4).ready)
	proof := a.prove(enough, svc, d.Addr, endpoints)
	o.policy, o.faults = a.policies.of(proof.ads, is4), proof.faults
	if proof.why != "" && (o.policy.reason == status.NoAdvertisement || o.policy.reason == status.NodeNotSelected) {
		if d.Reason = cmp.Or(a.refused, reach.refusal(is4, svc.Local)); d.Reason == "" {
			d.Reason, d.Detail = status.ProbeFailed, proof.why
		}
		return
	}
	if o.policy.reason == status.NoAdvertisement && len(ads.BGP) > 0 {
		d.Reason, d.Detail = status.TooFewEndpoints, fewDetail((&Ads{BGP: ads.BGP}).Least())
		return
	}
	if o.policy.reason != "" {
		d.Reason, d.Detail = o.policy.reason, o.policy.detail
		return
	}
	if reason := cmp.Or(a.refused, reach.refusal(is4, svc.Local)); reason != "" {
		d.Reason = reason
		return
	}
	if known := a.opts.Announces != nil || a.opts.Resumes != nil; svc.Local && known && reach.terminating(is4) && a.succession().of(svc, o.pool, d.Addr, endpoints, "").Able {
		d.Reason = status.EndpointsTerminating
		return
	}
	if len(o.policy.routes) == 0 {
		d.Reason = status.NoPeers
		return
	}
	if a.drainRefusal(d, svc, o.pool, endpoints) {
		return
	}
	if a.opts.Damped[Announcement{d.Service, d.Addr, status.BGP}] {
		d.Reason = status.EndpointsFlap
		return
	}
	if why, waits := a.opts.waits(ServiceAddr{d.Service, d.Addr}); waits {
		d.Reason, d.Detail = status.DataPlaneNotReady, why
		return
	}
	if d.Detail == "" {
		d.Detail = cmp.Or(proof.why, proof.kept)
	}
	if o.policy.partly || len(o.faults) > 0 {
		o.leftOut = a.leftOut(enough, proof.ads)
	}
	o.open = true
}

// An adder announces a route as a class for a Service. It reports the neighbors that do not
// get the route because of an earlier Service, and whether some do.
type adder func(p netip.Prefix, class int, by cluster.Key) ([]conflict, bool)

// conclude decides about all addresses of a Service, given its offers.
func (a *announcer) conclude(svc *cluster.Service, endpoints []cluster.Endpoint, offers []offer, add adder) {
	first := len(a.decisions)
	reach := newReach(endpoints, a.node)
	for _, o := range offers {
		if o.pool == nil {
			a.decisions = append(a.decisions, o.decision)
			continue
		}
		a.address(o, svc, reach, endpoints, add)
	}
	slices.SortStableFunc(a.decisions[first:], func(x, y status.Decision) int {
		return cmp.Or(x.Addr.Compare(y.Addr), cmp.Compare(x.Protocol, y.Protocol))
	})
}

// longestAddr is the length of the longest text that is an address without a zone.
const longestAddr = len("0000:0000:0000:0000:0000:ffff:255.255.255.255")

// ingressAddr returns the address that a text in the status of a Service is, and whether
// it is one. Of a long text it reads nothing.
func ingressAddr(text string) (netip.Addr, bool) {
	if len(text) > longestAddr {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(text)
	return addr.Unmap(), err == nil && addr.Zone() == ""
}

// address decides about an address of a pool.
func (a *announcer) address(o offer, svc *cluster.Service, reach reach, endpoints []cluster.Endpoint, add adder) {
	d, pool := o.decision, o.pool
	if len(pool.BGP) > 0 {
		if o.open {
			a.announce(&d, svc, o.policy, add)
		}
		a.leave(d, svc, pool, reach, endpoints, o.faults)
		a.part(o, d, svc, endpoints)
		a.keep(d, svc, pool, endpoints)
		if a.opts.Leaving && d.Announce {
			if s := a.succession().of(svc, pool, d.Addr, endpoints, ""); s.Able && !s.Confirmed {
				a.alone++
			}
		}
		a.decisions = append(a.decisions, d)
	}
	rest := status.Decision{Service: d.Service, Addr: d.Addr, Pool: d.Pool}
	switch {
	case len(pool.Layer2) > 0 && !a.opts.Layer2:
		rest.Protocol, rest.Reason = status.Layer2, status.Layer2Unsupported
		a.decisions = append(a.decisions, rest)
	case len(pool.BGP) == 0 && len(pool.Layer2) == 0:
		rest.Reason = status.NoAdvertisement
		a.decisions = append(a.decisions, rest)
	}
}

// announce adds the routes of an address.
func (a *announcer) announce(d *status.Decision, svc *cluster.Service, p policy, add adder) {
	d.Peers = p.peers
	first := len(a.prefixes)
	var kept []conflict
	for _, r := range p.routes {
		prefix := netip.PrefixFrom(d.Addr, r.bits).Masked()
		conflicts, added := add(prefix, r.class, svc.Key)
		kept = append(kept, conflicts...)
		if added {
			a.prefixes = append(a.prefixes, prefix)
		}
	}
	d.Routes = a.prefixes[first:len(a.prefixes):len(a.prefixes)]
	if len(kept) > 0 {
		d.Detail = kept[0].String()
		d.Peers = a.policies.told(p, d.Addr, kept)
	}
	if len(d.Routes) == 0 {
		d.Reason, d.Routes, d.Peers = kept[0].reason, nil, nil
		return
	}
	d.Announce, d.Reason = true, status.Announced
	if d.Detail == "" {
		d.Detail = a.opts.Readiness.Waived[ServiceAddr{d.Service, d.Addr}]
	}
}

// A reach says where the usable endpoints of a Service are. Traffic to an
// address goes to endpoints of its own family.
type reach struct{ v4, v6 familyReach }

type familyReach struct {
	anywhere, here       bool // usable
	readyHere, readyAway bool // ready, on this node and on others
	ready, readyOn       int  // how many, anywhere and on this node
}

func newReach(endpoints []cluster.Endpoint, node string) reach {
	var r reach
	for _, e := range endpoints {
		f := &r.v4
		if e.IPv6 {
			f = &r.v6
		}
		here := e.Node == node
		f.anywhere, f.here = true, f.here || here
		f.readyHere = f.readyHere || here && !e.Terminating
		f.readyAway = f.readyAway || !here && !e.Terminating
		if f.ready += e.Ready(); here {
			f.readyOn += e.Ready()
		}
	}
	return r
}

func (r reach) of(is4 bool) familyReach {
	if is4 {
		return r.v4
	}
	return r.v6
}

// terminating reports whether this node still serves the Service, but only other nodes
// will.
func (r reach) terminating(is4 bool) bool {
	f := r.of(is4)
	return f.here && !f.readyHere && f.readyAway
}

// refusal returns why a node must not attract traffic for the Service. Empty: it may. A node without endpoints of its own may, unless traffic has to
// stay local: it passes it on.
func (r reach) refusal(is4, local bool) status.Reason {
	f := r.of(is4)
	switch {
	case local && !f.here:
		return status.NoLocalEndpoints
	case !f.anywhere:
		return status.NoEndpoints
	}
	return ""
}
