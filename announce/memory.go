// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"cmp"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// A BGPMemory decides the same as BGP, pass after pass, and again only about the Services
// whose input has changed. Objects of the cluster are immutable: the same pointer means the
// same. The zero BGPMemory has decided nothing. It is not safe for concurrent use.
type BGPMemory struct {
	environment bgpEnvironment
	announcer   *announcer // for that; nil: nothing was decided yet
	frame       Desired    // what follows from it alone

	services  table.Table[cluster.Key, *cluster.Service]
	endpoints table.Table[cluster.Key, []cluster.Endpoint]
	nodes     []*cluster.Node
	members   Membership
	damped    map[Announcement]bool
	readiness Readiness

	claims    map[cluster.Key][]claim
	asks      routeAsks
	consults  map[cluster.Key]*consult // of the Services that depend on more than their objects
	routes    sharedRoutes
	decisions table.Editor[cluster.Key, []status.Decision]
}

// A bgpEnvironment is what all decisions depend on. It compares with ==.
type bgpEnvironment struct {
	config *config.Config
	index  *Index
	name   string
	node   *cluster.Node // nil: the cluster has no such Node
	gone   *cluster.Node
	addr   netip.Addr
	kept   string
	class  string

	ignoreExclude, layer2, drained, leaving, disabled, announces, resumes bool
}

// A consult is what a Service's decisions depend on beside objects of the cluster, and what
// they have to say about the whole node.
type consult struct {
	asked  []answer // by Options.Announces
	others bool     // what other nodes do

	last, unseen []netip.Addr
	left         map[netip.Addr]Succession
	parted       map[netip.Addr][]Part
	kept         map[string]Succession
	alone        int
}

// An answer is whether the node announced an address.
type answer struct {
	addr netip.Addr
	is   bool
}

// changed reports whether the node has begun or ended to announce what was asked about.
func (c *consult) changed(opts Options) bool {
	return slices.ContainsFunc(c.asked, func(a answer) bool { return opts.Announces(a.addr) != a.is })
}

// Next decides what a node announces, see BGP.
func (m *BGPMemory) Next(s cluster.Tables, node string, opts Options) DesiredTables {
	if s.Config == nil {
		*m = BGPMemory{}
		return DesiredTables{}
	}
	opts.Index = cmp.Or(opts.Index, m.environment.index).Of(s.Config)
	dirty := m.begin(s, node, opts)
	m.services, m.endpoints, m.damped, m.readiness = s.Services, s.Endpoints, opts.Damped, opts.Readiness
	m.decide(dirty, opts)
	return m.result()
}

// begin takes in the environment, and returns the Services to decide about.
func (m *BGPMemory) begin(s cluster.Tables, node string, opts Options) map[cluster.Key]bool {
	environment := bgpEnvironment{
		config: s.Config, index: opts.Index, name: node, node: cluster.NodeOf(s.Nodes, node), gone: opts.Gone, addr: opts.Address,
		kept: strings.Join(opts.Kept, " "), class: opts.Class, ignoreExclude: opts.IgnoreExcludeLB, layer2: opts.Layer2,
		drained: opts.Drained, leaving: opts.Leaving, disabled: opts.Members.Disabled, announces: opts.Announces != nil,
		resumes: opts.Resumes != nil,
	}
	if m.announcer == nil || environment != m.environment {
		m.reset(environment, s, node, opts)
	}
	a := m.announcer
	a.nodes, a.others, a.opts = s.Nodes, nil, opts
	dirty := map[cluster.Key]bool{}
	for c := range table.Diff(m.services, s.Services, table.Same) {
		dirty[c.Key] = true
	}
	for c := range table.Diff(m.endpoints, s.Endpoints, slices.Equal) {
		dirty[c.Key] = true
	}
	differing(m.damped, opts.Damped, func(id Announcement) { dirty[cluster.ParseKey(id.Service)] = true })
	m.readiness.differing(opts.Readiness, dirty)
	others := a.drained != nil || !slices.Equal(m.nodes, s.Nodes) || !sameOthers(m.members, opts.Members)
	m.nodes, m.members = s.Nodes, opts.Members
	m.asks.differing(opts.Sends, dirty)
	for key, c := range m.consults {
		if others && c.others || c.changed(opts) {
			dirty[key] = true
		}
	}
	return dirty
}

// sameOthers reports, at once, whether two Memberships are known to say the same of other
// nodes.
func sameOthers(a, b Membership) bool {
	return a.Disabled == b.Disabled && a.Stale == b.Stale && len(a.Members) == len(b.Members) &&
		(len(a.Members) == 0 || &a.Members[0] == &b.Members[0])
}

// differing calls f for each key of which two maps have different values.
func differing[K, V comparable](a, b map[K]V, f func(K)) {
	if sameMap(a, b) {
		return
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			f(k)
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			f(k)
		}
	}
}

// sameMap reports whether two maps, which nobody changes, are one.
func sameMap[K comparable, V any](a, b map[K]V) bool {
	return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
}

// SameWaived reports, at once, whether two Readinesses are known to waive the same.
func (r Readiness) SameWaived(o Readiness) bool { return sameMap(r.Waived, o.Waived) }

// SameFaults reports, at once, whether two Readinesses are known to have the same Faults, if
// the node announces the same.
func (r Readiness) SameFaults(o Readiness) bool {
	return sameMap(r.Failing, o.Failing) && sameMap(r.Unknown, o.Unknown) && sameMap(r.Waits, o.Waits)
}

// differing adds the Services that two Readinesses say different things of to services.
func (r Readiness) differing(o Readiness, services map[cluster.Key]bool) {
	add := func(id ServiceAddr) { services[cluster.ParseKey(id.Service)] = true }
	differing(r.Waits, o.Waits, add)
	differing(r.Waived, o.Waived, add)
	differing(r.Failing, o.Failing, func(id ProbeID) { add(id.ServiceAddr) })
}

// maxClasses bounds the classes that are remembered though no route is of them.
const maxClasses = 1000

// reset has all decisions made again. Those that come out as they were stay the same lists.
func (m *BGPMemory) reset(environment bgpEnvironment, s cluster.Tables, node string, opts Options) {
	known := m.routes.classes
	if known == nil || len(known.list) > maxClasses {
		known = newClasses()
	}
	before := *m
	*m = BGPMemory{environment: environment, claims: map[cluster.Key][]claim{}, consults: map[cluster.Key]*consult{}}
	m.announcer, m.frame = newAnnouncer(s.Config, s.Nodes, node, opts, known)
	m.routes = before.routes
	m.routes.reset(known)
	m.decisions = before.decisions
	for key := range before.decisions.Table().All() {
		if svc, ok := s.Services.Get(key); !ok || !m.announcer.concerns(svc) {
			m.decisions.Delete(key)
		}
	}
}

// decide decides about Services, and about those that share routes with them.
func (m *BGPMemory) decide(dirty map[cluster.Key]bool, opts Options) {
	offers := make(map[cluster.Key][]offer, len(dirty))
	consults := map[cluster.Key]*consult{}
	for key := range dirty {
		svc, ok := m.services.Get(key)
		if !ok || !m.announcer.concerns(svc) {
			m.routes.replace(key, m.claims[key], nil)
			m.decisions.Delete(key)
			delete(m.claims, key)
			delete(m.consults, key)
			m.asks.set(key, nil)
			delete(dirty, key)
			continue
		}
		consults[key] = &consult{}
		offers[key] = m.offer(key, svc, consults[key], opts)
		now := claimsOf(offers[key])
		m.routes.replace(key, m.claims[key], now)
		if m.claims[key] = now; now == nil {
			delete(m.claims, key)
		}
	}
	m.routes.settle(func(key cluster.Key) { dirty[key] = true })
	for key := range dirty {
		svc, _ := m.services.Get(key)
		c, known := consults[key]
		if !known {
			c = &consult{}
			offers[key] = m.offer(key, svc, c, opts)
		}
		m.conclude(key, svc, offers[key], c, opts)
	}
}

// offer returns the offers of a Service, and notes what they depend on.
func (m *BGPMemory) offer(key cluster.Key, svc *cluster.Service, c *consult, opts Options) (out []offer) {
	endpoints, _ := m.endpoints.Get(key)
	m.consulting(c, opts, func(a *announcer) { out = a.offers(svc, endpoints) })
	return out
}

// conclude decides about a Service.
func (m *BGPMemory) conclude(key cluster.Key, svc *cluster.Service, offers []offer, c *consult, opts Options) {
	endpoints, _ := m.endpoints.Get(key)
	var now []status.Decision
	m.consulting(c, opts, func(a *announcer) {
		a.decisions, a.prefixes = make([]status.Decision, 0, len(offers)), nil
		a.conclude(svc, endpoints, offers, m.routes.adder())
		now = a.decisions
		m.asks.set(key, a.asked)
	})
	if c.others || len(c.asked) > 0 {
		m.consults[key] = c
	} else {
		delete(m.consults, key)
	}
	SetDecisions(&m.decisions, key, now)
}

// consulting runs f with the announcer, and adds what that depends on to c.
func (m *BGPMemory) consulting(c *consult, opts Options, f func(*announcer)) {
	a := m.announcer
	a.consulted, a.last, a.unseen, a.left, a.parted, a.kept, a.alone = false, c.last, c.unseen, c.left, c.parted, c.kept, c.alone
	if opts.Announces != nil {
		a.opts.Announces = func(addr netip.Addr) bool {
			is := opts.Announces(addr)
			c.asked = append(c.asked, answer{addr, is})
			return is
		}
	}
	a.asked = nil
	f(a)
	c.others = c.others || a.consulted
	c.last, c.unseen, c.left, c.parted, c.kept, c.alone = a.last, a.unseen, a.left, a.parted, a.kept, a.alone
}

// claimsOf returns the routes that offers want.
func claimsOf(offers []offer) []claim {
	var out []claim
	for _, o := range offers {
		if !o.open {
			continue
		}
		for _, r := range o.policy.routes {
			out = append(out, claim{netip.PrefixFrom(o.decision.Addr, r.bits).Masked(), r.class})
		}
	}
	return out
}

// result puts together what was decided about all Services.
func (m *BGPMemory) result() DesiredTables {
	out := DesiredTables{Frame: m.frame, Decisions: m.decisions.Table(), Networks: m.routes.networks.Table()}
	if len(m.consults) == 0 {
		return out
	}
	d := &out.Frame
	for _, key := range slices.SortedFunc(maps.Keys(m.consults), cluster.Key.Compare) {
		c := m.consults[key]
		d.Last, d.Unseen = append(d.Last, c.last...), append(d.Unseen, c.unseen...)
		d.Alone += c.alone
		for addr, s := range c.left {
			if d.Left == nil {
				d.Left = map[netip.Addr]Succession{}
			}
			d.Left[addr] = s
		}
		for addr, parts := range c.parted {
			if d.Parted == nil {
				d.Parted = map[netip.Addr][]Part{}
			}
			d.Parted[addr] = append(d.Parted[addr], parts...)
		}
		for peer, s := range c.kept {
			if d.Kept == nil {
				d.Kept = map[string]Succession{}
			}
			if all, ok := d.Kept[peer]; !ok || all.Confirmed {
				d.Kept[peer] = s
			}
		}
	}
	return out
}
