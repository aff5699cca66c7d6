// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/table"
)

// A Target is an address of a Service that a node probes.
type Target struct {
	ProbeID
	Port uint16 // of the address, TCP

	// The traffic of other hosts stays on this node, but its own is led to all endpoints:
	// this share of connections is expected to stay. 1: all do, or need not.
	Share float64
	Local bool // only an endpoint on this node counts
}

// Targets are what a node probes, by Service.
type Targets = table.Table[cluster.Key, []Target]

// A TargetMemory finds what a node has to probe, again and again, and looks only at the
// Services that have changed. The zero value knows nothing. It is not safe for concurrent
// use.
type TargetMemory struct {
	environment bgpEnvironment
	targeter    *targeter // nil: nothing is probed

	services  table.Table[cluster.Key, *cluster.Service]
	endpoints table.Table[cluster.Key, []cluster.Endpoint]
	targets   table.Editor[cluster.Key, []Target]
}

// Next returns what a node has to probe: the addresses that it may announce, by
// advertisements with a probe that select it. Which node is elected on layer 2 does not
// matter: another one is to know whether it could follow.
func (m *TargetMemory) Next(s cluster.Tables, node string, opts Options) Targets {
	if s.Config == nil || !Probed(s.Config) {
		*m = TargetMemory{}
		return Targets{}
	}
	environment := bgpEnvironment{
		config: s.Config, name: node, node: cluster.NodeOf(s.Nodes, node), class: opts.Class,
		ignoreExclude: opts.IgnoreExcludeLB, layer2: opts.Layer2,
	}
	if m.targeter == nil || environment != m.environment {
		before := m.targets
		*m = TargetMemory{environment: environment, targeter: newTargeter(s, node, opts), targets: before}
		for key := range before.Table().All() {
			if _, there := s.Services.Get(key); !there {
				m.targets.Delete(key)
			}
		}
	}
	for c := range table.Diff(m.services, s.Services, table.Same) {
		m.look(c.Key, s)
	}
	for c := range table.Diff(m.endpoints, s.Endpoints, slices.Equal) {
		m.look(c.Key, s)
	}
	m.services, m.endpoints = s.Services, s.Endpoints
	return m.targets.Table()
}

// look finds what to probe of a Service.
func (m *TargetMemory) look(key cluster.Key, s cluster.Tables) {
	var now []Target
	if svc, ok := s.Services.Get(key); ok {
		endpoints, _ := s.Endpoints.Get(key)
		now = m.targeter.targets(svc, endpoints)
	}
	before, had := m.targets.Get(key)
	switch {
	case len(now) == 0:
		m.targets.Delete(key)
	case !had || !slices.Equal(before, now):
		m.targets.Set(key, now)
	}
}

// Probed reports whether some advertisement has a probe.
func Probed(cfg *config.Config) bool {
	return slices.ContainsFunc(cfg.BGPAdvertisements, func(ad config.BGPAdvertisement) bool { return !ad.Probe.IsZero() }) ||
		slices.ContainsFunc(cfg.L2Advertisements, func(ad config.L2Advertisement) bool { return !ad.Probe.IsZero() })
}

// A targeter knows what a node may announce, whatever Services there are.
type targeter struct {
	node     cluster.Node
	opts     Options
	index    *Index
	refused  bool
	sessions []session
}

func newTargeter(s cluster.Tables, node string, opts Options) *targeter {
	n, known := cluster.FindNode(s.Nodes, node)
	t := &targeter{node: n, opts: opts, index: opts.Index.Of(s.Config), refused: Refusal(n, known, opts) != ""}
	_, _, t.sessions = sessionsOf(*s.Config, n, known, nil)
	return t
}

// targets returns what to probe of a Service.
func (t *targeter) targets(svc *cluster.Service, endpoints []cluster.Endpoint) (out []Target) {
	if t.refused || !svc.LoadBalancer || svc.Class != t.opts.Class || svc.Restricted || svc.Local && svc.Affinity {
		return nil
	}
	r := newReach(endpoints, t.node.Name)
	for _, text := range svc.Ingress {
		addr, valid := ingressAddr(text)
		if !valid {
			continue
		}
		pool := t.index.Pool(addr)
		if pool == nil || r.refusal(addr.Is4(), svc.Local) != "" || svc.Local && r.terminating(addr.Is4()) {
			continue
		}
		ads := pool.Ads(svc.Labels).With(r.of(addr.Is4()).ready)
		if !ads.probed() {
			continue
		}
		for _, p := range t.probes(ads, addr.Is4()) {
			id := ProbeID{ServiceAddr{svc.String(), addr}, p}
			if port := probePort(svc, p); port != 0 && !slices.ContainsFunc(out, func(o Target) bool { return o.ProbeID == id }) {
				out = append(out, Target{ProbeID: id, Port: port, Local: svc.Local, Share: r.of(addr.Is4()).share(svc.Local)})
			}
		}
	}
	return out
}

// probes returns the probes of those advertisements that this node may announce an address
// by.
func (t *targeter) probes(ads *Ads, is4 bool) (out []config.Probe) {
	for _, ad := range ads.BGP {
		sends := func(s session) bool {
			return s.carries(is4) && (len(ad.Peers) == 0 || slices.Contains(ad.Peers, s.name))
		}
		if !ad.Probe.IsZero() && ad.AppliesToNode(t.node.Labels) && slices.ContainsFunc(t.sessions, sends) {
			out = append(out, ad.Probe)
		}
	}
	for _, ad := range ads.Layer2 {
		if !ad.Probe.IsZero() && t.opts.Layer2 && ad.AppliesToNode(t.node.Labels) {
			out = append(out, ad.Probe)
		}
	}
	return out
}

// probePort returns the port of a Service that is probed; 0: it has none.
func probePort(svc *cluster.Service, p config.Probe) uint16 {
	for has := range svc.Ports.All() {
		if has.Protocol == "TCP" && (p.Port == 0 || p.Port == has.Number) {
			return has.Number
		}
	}
	return 0
}

// share returns which part of the node's own connections stays on it, if that matters.
func (f familyReach) share(local bool) float64 {
	if !local || f.ready == 0 || f.readyOn == f.ready {
		return 1
	}
	return float64(f.readyOn) / float64(f.ready)
}

// AddrPort returns the address and port that are connected to.
func (t Target) AddrPort() netip.AddrPort { return netip.AddrPortFrom(t.Addr, t.Port) }
