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
	cfg := *s.Config
	n, known := cluster.FindNode(s.Nodes, node)
	d := Desired{}
	var sessions []session
	switch {
	case known:
	case opts.Gone != nil:
		n = *opts.Gone
	case opts.Address.IsValid():
		n.Addrs = []netip.Addr{opts.Address}
	}
	d.BGP, d.Peers, sessions = sessionsOf(cfg, n, known || opts.Gone != nil, opts.Kept)
	d.MadeID = madeID(d.BGP, n)
	a := announcer{
		snapshot:  s,
		opts:      opts,
		refused:   Refusal(n, known, opts),
		node:      node,
		layer2:    opts.Layer2,
		index:     opts.Index.Of(s.Config),
		policies:  policies{node: n, sessions: sessions, classes: newClasses(), made: map[*Ads][2]policy{}},
		decisions: make([]status.Decision, 0, len(s.Services)),
	}
	a.drain(n)
	a.routes = routes{classes: a.policies.classes, owners: make(map[netip.Prefix]owner, len(s.Services))}
	for _, svc := range s.Services {
		if svc.LoadBalancer && svc.Class == opts.Class {
			a.service(svc, s.Endpoints[svc.Key])
		}
	}
	d.Decisions, d.Last, d.Unseen, d.Drain = a.decisions, a.last, a.unseen, n.Drain
	d.Left, d.Kept, d.Alone = a.left, a.kept, a.alone
	d.BGP.Classes, d.BGP.Networks = a.routes.render()
	return d
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
	snapshot  cluster.Snapshot
	opts      Options
	node      string
	refused   status.Reason // why this node announces nothing; empty if it may
	layer2    bool          // Layer2 decides about layer 2
	index     *Index
	policies  policies
	drained   *withdrawal  // nil: the node does not drain
	others    *succession  // nil: not needed yet
	last      []netip.Addr // this node drains, and no other was seen to announce them
	unseen    []netip.Addr // likewise, but this one does not announce it either
	left      map[netip.Addr]Succession
	kept      map[string]Succession
	alone     int
	routes    routes
	decisions []status.Decision
	prefixes  []netip.Prefix // holds the Routes of all decisions
}

// service decides about all addresses of a Service.
func (a *announcer) service(svc *cluster.Service, endpoints []cluster.Endpoint) {
	name := svc.String()
	if len(svc.Ingress) == 0 {
		a.decisions = append(a.decisions, status.Decision{Service: name, Reason: status.NoAddress})
		return
	}
	first := len(a.decisions)
	reach := newReach(endpoints, a.node)
	var invalid []string
	for i, text := range svc.Ingress {
		addr, valid := ingressAddr(text)
		switch {
		case slices.Contains(svc.Ingress[:i], text):
		case !valid:
			invalid = append(invalid, text)
		default:
			a.address(svc, name, addr, reach, endpoints)
		}
	}
	if len(invalid) > 0 {
		d := status.Decision{Service: name, Reason: status.InvalidAddress, Detail: "status has " + excerpt.Quote(invalid[0])}
		if more := len(invalid) - 1; more > 0 {
			d.Detail += fmt.Sprintf(" and %d more", more)
		}
		a.decisions = append(a.decisions, d)
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

// address decides about one address of a Service.
func (a *announcer) address(svc *cluster.Service, name string, addr netip.Addr, reach reach, endpoints []cluster.Endpoint) {
	d := status.Decision{Service: name, Addr: addr}
	pool := a.index.Pool(addr)
	if pool == nil {
		d.Reason = status.NotInPool
		a.decisions = append(a.decisions, d)
		return
	}
	d.Pool = pool.Name
	if len(pool.BGP) > 0 {
		d := a.overBGP(d, svc, pool, reach, endpoints)
		a.leave(d, svc, pool, reach, endpoints)
		a.keep(d, svc, pool, endpoints)
		if a.opts.Leaving && d.Announce {
			if s := a.succession().of(svc, pool, addr, endpoints, ""); s.Able && !s.Confirmed {
				a.alone++
			}
		}
		a.decisions = append(a.decisions, d)
	}
	if len(pool.Layer2) > 0 && !a.layer2 {
		d := d
		d.Protocol, d.Reason = status.Layer2, status.Layer2Unsupported
		a.decisions = append(a.decisions, d)
	}
	if len(pool.BGP) == 0 && len(pool.Layer2) == 0 {
		d.Reason = status.NoAdvertisement
		a.decisions = append(a.decisions, d)
	}
}

// overBGP completes the decision about an address of a pool, and adds its
// routes.
func (a *announcer) overBGP(d status.Decision, svc *cluster.Service, pool *Pool, reach reach, endpoints []cluster.Endpoint) status.Decision {
	d.Protocol = status.BGP
	ads := pool.Ads(svc.Labels)
	p := a.policies.of(ads.With(reach.of(d.Addr.Is4()).ready), d.Addr.Is4())
	if p.reason == status.NoAdvertisement && len(ads.BGP) > 0 {
		d.Reason, d.Detail = status.TooFewEndpoints, fewDetail((&Ads{BGP: ads.BGP}).Least())
		return d
	}
	if p.reason != "" {
		d.Reason, d.Detail = p.reason, p.detail
		return d
	}
	if reason := cmp.Or(a.refused, reach.refusal(d.Addr.Is4(), svc.Local)); reason != "" {
		d.Reason = reason
		return d
	}
	if svc.Local && a.opts.Announces != nil && reach.terminating(d.Addr.Is4()) && a.succession().of(svc, pool, d.Addr, endpoints, "").Able {
		d.Reason = status.EndpointsTerminating
		return d
	}
	if len(p.routes) == 0 {
		d.Reason = status.NoPeers
		return d
	}
	if a.drainRefusal(&d, svc, pool, endpoints) {
		return d
	}
	if a.opts.Damped[Announcement{d.Service, d.Addr, status.BGP}] {
		d.Reason = status.EndpointsFlap
		return d
	}
	if why, waits := a.opts.waits(ServiceAddr{d.Service, d.Addr}); waits {
		d.Reason, d.Detail = status.DataPlaneNotReady, why
		return d
	}
	d.Peers = p.peers
	first := len(a.prefixes)
	var kept []conflict
	for _, r := range p.routes {
		prefix := netip.PrefixFrom(d.Addr, r.bits).Masked()
		conflicts, added := a.routes.add(prefix, r.class, svc.Key)
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
		return d
	}
	d.Announce, d.Reason = true, status.Announced
	if d.Detail == "" {
		d.Detail = a.opts.Readiness.Waived[ServiceAddr{d.Service, d.Addr}]
	}
	return d
}

// A reach says where the usable endpoints of a Service are. Traffic to an
// address goes to endpoints of its own family.
type reach struct{ v4, v6 familyReach }

type familyReach struct {
	anywhere, here       bool // usable
	readyHere, readyAway bool // ready, on this node and on others
	ready                int  // how many, anywhere
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
		f.ready += e.Ready()
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
