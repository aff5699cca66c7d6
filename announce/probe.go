// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"cmp"
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
)

// A ProbeID is how an address of a Service is probed.
type ProbeID struct {
	ServiceAddr
	Probe config.Probe
}

// A Fault is a probe that is not answered on a node, as agents tell each other.
type Fault struct {
	Addr    netip.Addr
	Digest  uint32 // of the Service, and of what its address is asked
	Unknown bool   // it has no verdict yet; else it fails
}

// Compare orders faults by address. Of one probe they are equal.
func (f Fault) Compare(o Fault) int {
	if c := f.Addr.Compare(o.Addr); c != 0 {
		return c
	}
	return cmp.Compare(f.Digest, o.Digest)
}

// Fault returns the fault of a probe that fails. Its Digest is part of the protocol between
// agents.
func (id ProbeID) Fault() Fault {
	h := fnv.New32a()
	p := id.Probe
	for _, text := range []string{id.Service, string(p.Protocol), strconv.Itoa(int(p.Port)), p.Path, p.Host} {
		h.Write([]byte(text))
		h.Write([]byte{0})
	}
	return Fault{Addr: id.Addr, Digest: h.Sum32()}
}

// Faults returns the faults of the node, in order. A probe without a verdict is none while its
// address waits for it: the node does not announce it then, unless it did before.
func (r Readiness) Faults(announces func(netip.Addr) bool) []Fault {
	out := make([]Fault, 0, len(r.Failing)+len(r.Unknown))
	for id := range r.Failing {
		out = append(out, id.Fault())
	}
	for id := range r.Unknown {
		if _, waits := r.Waits[id.ServiceAddr]; !waits || announces(id.Addr) {
			f := id.Fault()
			f.Unknown = true
			out = append(out, f)
		}
	}
	slices.SortFunc(out, Fault.compareWhole)
	return slices.CompactFunc(out, func(a, b Fault) bool { return a.Compare(b) == 0 })
}

// probed reports whether the advertisements have probes.
func (a *Ads) probed() bool { return a.probes }

// onlyBGP returns those of the advertisements over BGP that f is true of.
func (a *Ads) onlyBGP(f func(*config.BGPAdvertisement) bool) *Ads {
	key := make([]byte, len(a.BGP))
	for i, ad := range a.BGP {
		key[i] = bit(f(ad))
	}
	return a.part(string(key), nil)
}

// onlyLayer2 returns those of the advertisements on layer 2 that f is true of.
func (a *Ads) onlyLayer2(f func(*config.L2Advertisement) bool) *Ads {
	key := make([]byte, len(a.Layer2))
	for i, ad := range a.Layer2 {
		key[i] = bit(f(ad))
	}
	return a.part("", key)
}

// part returns some of the advertisements of each protocol: those with a 1. It is made once
// for each set.
func (a *Ads) part(bgp string, layer2 []byte) *Ads {
	key := bgp + "/" + string(layer2)
	if some := a.parts[key]; some != nil {
		return some
	}
	some := &Ads{}
	for i := range bgp {
		if bgp[i] == 1 {
			some.addBGP(a.BGP[i])
		}
	}
	for i := range layer2 {
		if layer2[i] == 1 {
			some.addLayer2(a.Layer2[i])
		}
	}
	if a.parts == nil {
		a.parts = map[string]*Ads{}
	}
	a.parts[key] = some
	return some
}

// A proof is what is left of the advertisements of an address, given what its probes say.
type proof struct {
	ads    *Ads
	why    string // some are left out; empty: none is
	kept   string // the probe of some fails, but on all nodes
	faults []Fault
}

// prove leaves out the advertisements whose probe fails on this node. One stays if its
// probe fails on all nodes that could announce the address, and the rules say so. faults are
// those of which another node has none.
func (a *announcer) prove(ads *Ads, svc *cluster.Service, addr netip.Addr, endpoints []cluster.Endpoint) proof {
	out := proof{ads: ads}
	if !ads.probed() || len(a.opts.Readiness.Failing) == 0 {
		return out
	}
	out.ads = ads.onlyBGP(func(ad *config.BGPAdvertisement) bool {
		if ad.Probe.IsZero() || !ad.AppliesToNode(a.policies.node.Labels) {
			return true
		}
		id := ProbeID{ServiceAddr{svc.String(), addr}, ad.Probe}
		why, fails := a.opts.Readiness.Failing[id]
		if !fails {
			return true
		}
		if !ad.Probe.Withdraw {
			only := ads.onlyBGP(func(other *config.BGPAdvertisement) bool { return other == ad })
			if !a.succession().answered(only, svc, addr, endpoints, id.Fault()) {
				out.kept = keptDetail(why)
				return true
			}
			out.faults = append(out.faults, id.Fault())
		}
		out.why = probeDetail(ad.Name, why)
		return false
	})
	return out
}

// probeDetail says which advertisement does not apply as its probe fails.
func probeDetail(ad, why string) string {
	return "the probe of advertisement " + strconv.Quote(ad) + " fails: " + why
}

// keptDetail says why an address is announced though its probe fails.
func keptDetail(why string) string {
	return "the probe fails, but no other node is known on which it does not: " + why
}

// answered reports whether another node could announce an address by these advertisements,
// is alive, and is known to have no such fault.
func (x *succession) answered(ads *Ads, svc *cluster.Service, addr netip.Addr, endpoints []cluster.Endpoint, f Fault) bool {
	return slices.ContainsFunc(x.heirs(ads, addr.Is4(), "").nodes, func(n heir) bool {
		return n.alive && !n.mayHave(f) && (!svc.Local || n.serves(addr, endpoints))
	})
}

// mayHave reports whether the node has a fault, or it is not known that it has none.
func (n heir) mayHave(f Fault) bool {
	if n.unjudged {
		return true
	}
	_, has := slices.BinarySearchFunc(n.faults, f, Fault.Compare)
	return has
}

// A verdict is what probes make of an l2Class for one address of a Service.
type verdict struct {
	*l2Class
	why  string // this node may not answer, since a probe fails on it; empty: it may
	kept string // a probe fails here, but on all nodes
}

// judge leaves out of a class the nodes on which the probes of their advertisements are not
// answered, by what agents tell each other, if one is left. If none is, an advertisement that
// withdraws leaves out those on which its probe fails, and any other leaves out none: a node
// without a verdict is neither preferred nor left out. usable are the nodes that have the
// endpoints that they need; nil: all have. Without gossip no node knows of another, and
// probes have no meaning.
func (el *layer2Election) judge(ads *Ads, svc *cluster.Service, addr netip.Addr, usable nodeSet) verdict {
	whole := el.class(ads)
	if !ads.probed() || len(el.faulty) == 0 && el.unjudged.empty() {
		return verdict{l2Class: whole}
	}
	out := verdict{l2Class: &l2Class{
		none: whole.none, scores: whole.scores, selected: newNodeSet(len(el.nodes)), eligible: newNodeSet(len(el.nodes)),
	}}
	for _, ad := range ads.Layer2 {
		one := el.class(ads.onlyLayer2(func(other *config.L2Advertisement) bool { return other == ad }))
		selected, eligible := one.selected, one.eligible
		if !ad.Probe.IsZero() {
			id := ProbeID{ServiceAddr{svc.String(), addr}, ad.Probe}
			fails, open := el.faultsOf(id.Fault())
			why := cmp.Or(el.opts.Readiness.Failing[id], "it did a moment ago")
			here := el.self >= 0 && fails.has(el.self) && selected.has(el.self)
			leave := fails.or(open)
			others := el.anyAlive(eligible.minus(leave), usable)
			if !others {
				leave = fails
			}
			switch {
			case others || ad.Probe.Withdraw:
				selected, eligible = selected.minus(leave), eligible.minus(leave)
				if here {
					out.why = probeDetail(ad.Name, why)
				}
			case here:
				out.kept = keptDetail(why)
			}
		}
		out.selected, out.eligible = out.selected.or(selected), out.eligible.or(eligible)
		if el.self >= 0 && selected.has(el.self) {
			out.interfaces = append(out.interfaces, one.interfaces...)
			out.everywhere = out.everywhere || one.everywhere
		}
	}
	if el.self < 0 || out.selected.has(el.self) {
		out.why = ""
	}
	return out
}

// anyAlive reports whether one of the nodes of a set, and of usable, may be elected now.
func (el *layer2Election) anyAlive(set, usable nodeSet) bool {
	if usable != nil {
		set = set.and(usable)
	}
	return !set.and(el.tiers[len(el.tiers)-1]).empty()
}

// faultsOf returns the nodes on which a probe fails, and those on which it has no verdict.
func (e *electorate) faultsOf(f Fault) (fails, open nodeSet) {
	none := newNodeSet(len(e.nodes))
	if fails = e.faulty[f]; fails == nil {
		fails = none
	}
	f.Unknown = true
	if open = e.faulty[f]; open == nil {
		return fails, e.unjudged.minus(fails)
	}
	return fails, e.unjudged.or(open).minus(fails)
}

// blame takes in the faults of members.
func (e *electorate) blame(members []Member) {
	e.faulty, e.unjudged = map[Fault]nodeSet{}, unjudged(members, e.index)
	for _, m := range members {
		if i, known := e.index[m.Node]; known {
			for _, f := range m.Faults {
				e.setFault(f, i, true)
			}
		}
	}
}

// setFault takes in whether a node has a fault.
func (e *electorate) setFault(f Fault, node int, is bool) {
	of := e.faulty[f]
	switch {
	case is && of == nil:
		of = newNodeSet(len(e.nodes))
		e.faulty[f] = of
		of.add(node)
	case is:
		of.add(node)
	case of != nil:
		if of.remove(node); of.empty() {
			delete(e.faulty, f)
		}
	}
}

// unjudged returns the members whose other probes may have no verdict.
func unjudged(members []Member, index map[string]int) nodeSet {
	out := newNodeSet(len(index))
	for _, m := range members {
		if i, known := index[m.Node]; known && m.Unjudged {
			out.add(i)
		}
	}
	return out
}

// compareWhole orders faults as lists of members have them: what fails comes before what is
// unknown.
func (f Fault) compareWhole(o Fault) int {
	switch c := f.Compare(o); {
	case c != 0 || f.Unknown == o.Unknown:
		return c
	case o.Unknown:
		return -1
	}
	return 1
}

// differingFaults calls f for each fault that is in one of two lists alone, both in order, and
// whether it is in the second.
func differingFaults(before, now []Fault, f func(fault Fault, is bool)) {
	if len(before) == len(now) && (len(now) == 0 || &before[0] == &now[0]) {
		return
	}
	for len(before)+len(now) > 0 {
		switch {
		case len(before) == 0:
			f(now[0], true)
			now = now[1:]
		case len(now) == 0 || len(before) > 0 && before[0].compareWhole(now[0]) < 0:
			f(before[0], false)
			before = before[1:]
		case before[0].compareWhole(now[0]) > 0:
			f(now[0], true)
			now = now[1:]
		default:
			before, now = before[1:], now[1:]
		}
	}
}

// probeRefusal completes the decision of a claim about an address that this node may not
// answer for as its probe fails.
func (c *layer2Claim) probeRefusal(v verdict) {
	if c.decision.Reason == "" && v.why != "" {
		c.decision.Reason, c.decision.Detail = status.ProbeFailed, v.why
	}
	c.kept = v.kept
}
