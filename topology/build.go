// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
)

// Build returns the Topology of what was read.
func Build(in Input) Topology {
	b := &builder{in: in, index: map[string]int{}, known: map[string]int{}, t: Topology{
		SchemaVersion: SchemaVersion, At: in.At, Namespace: in.Namespace, Class: in.Class,
		Unasked: slices.Clone(in.Unasked), Controllers: slices.Clone(in.Controllers),
		Nodes: []Node{}, Pools: []Pool{}, Peers: []Peer{}, Services: []Service{}, Problems: []Problem{},
		silent: in.Silent, NoFRR: in.NoFRR,
	}}
	b.settle()
	b.services()
	b.nodes()
	b.decide()
	b.history()
	b.peers()
	b.announced()
	b.loads()
	b.pools()
	// Agents write into objects what they would answer.
	b.t.unknown = slices.ContainsFunc(required, in.unasked) ||
		b.t.Config.Unread != "" && slices.ContainsFunc(b.t.Nodes, func(n Node) bool { return !n.Agent.Asked })
	b.problems()
	b.t.Overall = map[Health]string{Fine: ChainFine, Broken: ChainBroken, Untold: ChainUnknown}[b.t.Health()]
	slices.SortFunc(b.t.Unasked, func(x, y Unasked) int {
		return cmp.Or(strings.Compare(x.What, y.What), strings.Compare(x.Error, y.Error))
	})
	return b.t
}

// A builder makes one Topology.
type builder struct {
	in     Input
	t      Topology
	loaded source.Loaded
	s      cluster.Snapshot // with the configuration in force; its Services are those of t, and others
	ads    *announce.Index  // nil: there is no configuration
	plan   assign.Plan
	index  map[string]int           // of t.Services, by name
	keys   []cluster.Key            // of t.Services
	agents map[string]AgentPod      // by node
	states map[string]AgentState    // by node
	soon   map[netip.Addr]bool      // addresses that a Service is to get and does not have
	part   bool                     // of the configuration only the pools are known
	known  map[string]int           // index in t.Problems, by all but the objects
	peerAt map[string][]status.Peer // by node: as its agent says, or as the rules are
}

// services adds the Services with their addresses and what is decided about those.
func (b *builder) services() {
	b.t.others = map[cluster.Key]bool{}
	if b.s.Config != nil && !b.in.unasked(KindServices) && !b.in.unasked(KindNamespaces) {
		b.plan = assign.Assign(b.s, alloc.New(nil), assign.Options{Class: b.in.Class})
	}
	updates := b.plan.Updates
	b.soon = map[netip.Addr]bool{}
	for _, svc := range b.s.Services {
		var update *assign.Update
		if len(updates) > 0 && updates[0].Service == svc {
			update, updates = &updates[0], updates[1:]
			for _, a := range update.Ingress {
				b.soon[a] = true
			}
		}
		if !svc.LoadBalancer {
			b.t.others[svc.Key] = true
			continue
		}
		b.index[svc.String()] = len(b.t.Services)
		b.keys = append(b.keys, svc.Key)
		b.t.Services = append(b.t.Services, b.service(svc, update))
	}
	for _, svc := range b.s.Services {
		for _, a := range cluster.ParseIngress(svc.Ingress) {
			delete(b.soon, a)
		}
	}
}

func (b *builder) service(svc *cluster.Service, update *assign.Update) Service {
	out := Service{
		Name: svc.String(), Class: svc.Class, Local: svc.Local, Created: svc.Created,
		Addresses: []Address{}, Request: requestOf(svc), Annotations: svc.Unknown,
	}
	if !strings.HasPrefix(svc.Selector, "sha256:") {
		out.Selector = svc.Selector
	}
	for _, a := range cluster.ParseIngress(svc.Ingress) {
		addr := Address{Addr: a}
		if b.ads != nil {
			if pool := b.ads.Pool(a); pool != nil {
				addr.Pool, addr.Advertisements = pool.Name, namesOf(pool.Ads(svc.Labels), b.in)
			}
		}
		out.Addresses = append(out.Addresses, addr)
	}
	for _, e := range b.s.Endpoints[svc.Key] {
		out.Endpoints = append(out.Endpoints, Endpoint{Node: e.Node, IPv6: e.IPv6, Ready: e.Ready(), Terminating: e.Terminating})
	}
	have := svc.Condition(assign.ConditionAddressAssigned)
	switch {
	case svc.Class != b.in.Class:
	case b.t.Config.Unread != "" && have == nil:
	case b.s.Config == nil && have == nil:
		out.Assigned = Judgement{Reason: reasonNoConfiguration, Message: "there is no configuration: " + b.t.Config.Error, Pending: true}
	case update != nil && update.Condition != nil && (have == nil || *have != *update.Condition):
		out.Assigned = judgementOf(*update.Condition)
		out.Assigned.Pending = have == nil || have.True != update.Condition.True
	case have != nil:
		out.Assigned = judgementOf(*have)
	}
	return out
}

func judgementOf(c cluster.Condition) Judgement {
	return Judgement{True: c.True, Reason: c.Reason, Message: c.Message}
}

// namesOf names advertisements as KIND/NAME; none that may lack others that could not be read.
func namesOf(ads *announce.Ads, in Input) (out []string) {
	if in.unasked(ResourcesOf(config.KindBGPAdvertisement)) || in.unasked(ResourcesOf(config.KindL2Advertisement)) {
		return nil
	}
	for _, ad := range ads.BGP {
		out = append(out, config.KindBGPAdvertisement+"/"+ad.Name)
	}
	for _, ad := range ads.Layer2 {
		out = append(out, config.KindL2Advertisement+"/"+ad.Name)
	}
	return out
}

// requestOf says what addresses a Service asks for; empty: any.
func requestOf(svc *cluster.Service) string {
	var parts []string
	switch {
	case svc.Wish.Invalid != "":
		return svc.Wish.Invalid
	case len(svc.Wish.Addrs) > 0:
		for _, a := range svc.Wish.Addrs {
			parts = append(parts, a.String())
		}
	}
	if svc.Wish.Pool != "" {
		parts = append(parts, "pool "+svc.Wish.Pool)
	}
	return strings.Join(parts, ", ")
}

// pools adds the pools of the configuration in force.
func (b *builder) pools() {
	if b.s.Config == nil {
		return
	}
	for i := range b.s.Config.Pools {
		p := &b.s.Config.Pools[i]
		out := Pool{Pool: status.Pool{Name: p.Name}, AutoAssign: p.AutoAssign, Addresses: []string{}, Advertisements: []string{}, Clients: []string{}}
		if k := slices.IndexFunc(b.plan.Pools, func(u status.Pool) bool { return u.Name == p.Name }); k >= 0 {
			out.Pool = b.plan.Pools[k]
			b.withoutSoon(&out.Pool, p)
		}
		for _, r := range p.Addresses {
			out.Addresses = append(out.Addresses, r.String())
		}
		for _, r := range p.Reservations {
			out.Reservations = append(out.Reservations, Reservation{Addr: r.Addr, Service: r.Namespace + "/" + r.Service})
		}
		slices.SortStableFunc(out.Reservations, func(x, y Reservation) int { return x.Addr.Compare(y.Addr) })
		for _, ad := range b.s.Config.BGPAdvertisements {
			if ad.AppliesToPool(p) {
				out.Advertisements = append(out.Advertisements, config.KindBGPAdvertisement+"/"+ad.Name)
			}
		}
		for _, ad := range b.s.Config.L2Advertisements {
			if ad.AppliesToPool(p) {
				out.Advertisements = append(out.Advertisements, config.KindL2Advertisement+"/"+ad.Name)
			}
		}
		b.t.Pools = append(b.t.Pools, out)
	}
	slices.SortFunc(b.t.Pools, func(x, y Pool) int { return strings.Compare(x.Name, y.Name) })
	at := map[string]int{}
	for i, p := range b.t.Pools {
		at[p.Name] = i
	}
	for _, s := range b.t.Services {
		for k, a := range s.Addresses {
			if i, ok := at[a.Pool]; ok && !slices.ContainsFunc(s.Addresses[:k], func(o Address) bool { return o.Pool == a.Pool }) {
				b.t.Pools[i].Clients = append(b.t.Pools[i].Clients, s.Name)
			}
		}
	}
	if len(b.soon) > 0 {
		for i := range b.t.Pools {
			b.t.Pools[i].Services = len(b.t.Pools[i].Clients)
		}
	}
}

// withoutSoon takes from the usage of a pool the addresses that nobody has yet.
func (b *builder) withoutSoon(usage *status.Pool, p *config.Pool) {
	for a := range b.soon {
		if !slices.ContainsFunc(p.Addresses, func(r config.Range) bool { return r.Contains(a) }) {
			continue
		}
		if a.Is4() {
			usage.InUseV4--
		} else {
			usage.InUseV6--
		}
	}
}
