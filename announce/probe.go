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

// A Fault is a probe that fails on a node, as agents tell each other.
type Fault struct {
	Addr   netip.Addr
	Digest uint32 // of the Service, and of what its address is asked
}

// Compare orders faults by address.
func (f Fault) Compare(o Fault) int {
	if c := f.Addr.Compare(o.Addr); c != 0 {
		return c
	}
	return cmp.Compare(f.Digest, o.Digest)
}

// Fault returns the fault of a probe that fails. It is part of the protocol between agents.
func (id ProbeID) Fault() Fault {
	h := fnv.New32a()
	p := id.Probe
	for _, text := range []string{id.Service, string(p.Protocol), strconv.Itoa(int(p.Port)), p.Path, p.Host} {
		h.Write([]byte(text))
		h.Write([]byte{0})
	}
	return Fault{id.Addr, h.Sum32()}
}

// Faults returns the faults of the node, in order.
func (r Readiness) Faults() []Fault {
	out := make([]Fault, 0, len(r.Failing))
	for id := range r.Failing {
		out = append(out, id.Fault())
	}
	slices.SortFunc(out, Fault.Compare)
	return slices.Compact(out)
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
// is alive, and has no such fault.
func (x *succession) answered(ads *Ads, svc *cluster.Service, addr netip.Addr, endpoints []cluster.Endpoint, f Fault) bool {
	nodes := x.heirs(ads, addr.Is4(), "").nodes
	if svc.Local {
		nodes = local(nodes, addr, endpoints)
	}
	return slices.ContainsFunc(nodes, func(n heir) bool { return n.alive && !n.hasFault(f) })
}

// hasFault reports whether a probe is known to fail on the node.
func (n heir) hasFault(f Fault) bool {
	_, has := slices.BinarySearchFunc(n.faults, f, Fault.Compare)
	return has
}

// sound returns those nodes of a list that have none of these faults.
func sound(nodes []heir, faults []Fault) []heir {
	return slices.DeleteFunc(slices.Clone(nodes), func(n heir) bool { return slices.ContainsFunc(faults, n.hasFault) })
}

// A verdict is what probes make of an l2Class for one address of a Service.
type verdict struct {
	*l2Class
	why  string // this node may not answer, since a probe fails on it; empty: it may
	kept string // a probe fails here, but on all nodes
}

// judge leaves out of a class the nodes on which the probes of their advertisements fail, by
// what agents tell each other. usable are the nodes that have the endpoints that they need;
// nil: all have. Without gossip no node knows of another, and probes have no meaning.
func (el *layer2Election) judge(ads *Ads, svc *cluster.Service, addr netip.Addr, usable nodeSet) verdict {
	whole := el.class(ads)
	if !ads.probed() || len(el.faulty) == 0 {
		return verdict{l2Class: whole}
	}
	out := verdict{l2Class: &l2Class{
		none: whole.none, scores: whole.scores, selected: newNodeSet(len(el.nodes)), eligible: newNodeSet(len(el.nodes)),
	}}
	for _, ad := range ads.Layer2 {
		one := el.class(ads.onlyLayer2(func(other *config.L2Advertisement) bool { return other == ad }))
		selected, eligible := one.selected, one.eligible
		id := ProbeID{ServiceAddr{svc.String(), addr}, ad.Probe}
		if faulty := el.faulty[id.Fault()]; faulty != nil && !ad.Probe.IsZero() {
			why := cmp.Or(el.opts.Readiness.Failing[id], "it did a moment ago")
			fails := el.self >= 0 && faulty.has(el.self) && one.selected.has(el.self)
			if ad.Probe.Withdraw || el.anyAlive(eligible.minus(faulty), usable) {
				selected, eligible = selected.minus(faulty), eligible.minus(faulty)
				if fails {
					out.why = probeDetail(ad.Name, why)
				}
			} else if fails {
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

// faultyNodes returns the nodes of members by their faults.
func faultyNodes(members []Member, index map[string]int) map[Fault]nodeSet {
	var out map[Fault]nodeSet
	for _, m := range members {
		i, known := index[m.Node]
		if !known {
			continue
		}
		for _, f := range m.Faults {
			if out == nil {
				out = map[Fault]nodeSet{}
			}
			if out[f] == nil {
				out[f] = newNodeSet(len(index))
			}
			out[f].add(i)
		}
	}
	return out
}

// probeRefusal completes the decision of a claim about an address that this node may not
// answer for as its probe fails.
func (c *layer2Claim) probeRefusal(v verdict) {
	if c.decision.Reason == "" && v.why != "" {
		c.decision.Reason, c.decision.Detail = status.ProbeFailed, v.why
	}
	c.kept = v.kept
}
