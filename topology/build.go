// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// Build returns the Topology of what was read.
func Build(in Input) Topology {
	b := &builder{in: in, index: map[string]int{}, known: map[string]int{}, t: Topology{
		SchemaVersion: SchemaVersion, At: in.At, Namespace: in.Namespace, Class: in.Class,
		Unasked: slices.Clone(in.Unasked), Controllers: slices.Clone(in.Controllers),
		Nodes: []Node{}, Pools: []Pool{}, Peers: []Peer{}, Services: []Service{}, Problems: []Problem{},
		strays: in.Strays,
	}}
	b.settle()
	b.services()
	b.nodes()
	b.decide()
	b.history()
	b.peers()
	b.announced()
	b.pools()
	// Agents write into objects what they would answer.
	b.t.unknown = slices.ContainsFunc(in.Unasked, func(u Unasked) bool { return slices.Contains(required, u.What) })
	b.problems()
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
	known  map[string]int           // index in t.Problems, by all but the objects
	peerAt map[string][]status.Peer // by node: as its agent says, or as the rules are
}

// fixed is a source of a configuration that does not change.
type fixed source.Document

// Document implements source.Documents.
func (f fixed) Document() (source.Document, bool) { return source.Document(f), true }

// settle decides which configuration is in force, as a controller that starts does.
func (b *builder) settle() {
	text, resources := fixed(b.in.ConfigMap), fixed(source.Document{
		Source:    "resources of " + config.ResourceGroup + " in " + b.in.Namespace,
		Resources: &config.Resources{Objects: b.in.Resources, Secrets: b.secrets()},
	})
	var doc source.Document
	if b.in.Source == "resources" {
		doc = source.Document(resources)
	} else {
		sources := source.Sources{
			ConfigMap: text,
			Record:    func() (source.Source, bool) { return b.in.Recorded, true },
			Similar:   func() []string { return b.in.Similar },
		}
		if b.in.Source != "configmap" {
			sources.Resources = resources
		}
		doc, _ = sources.Document()
	}
	b.loaded = source.Loaded{}.Next(doc)
	b.s = b.in.Cluster
	b.s.Config = b.loaded.Config
	b.t.Config = Config{
		Loaded: b.loaded.Config != nil, Source: doc.Source, Version: b.loaded.Accepted.Version, Notice: doc.Notice,
	}
	if b.loaded.Err != nil {
		b.t.Config.Refused = b.s.Config == nil && !errors.Is(b.loaded.Err, source.ErrNotFound)
		b.t.Config.Error = b.loaded.Err.Error()
	}
	if b.s.Config != nil {
		b.ads = announce.NewIndex(b.s.Config)
	}
}

// secrets returns what Secrets the peers refer to. Secrets are not read here: each counts as
// good, unless the controller says that the peer lacks something.
func (b *builder) secrets() []config.PasswordSecret {
	var out []config.PasswordSecret
	for _, o := range b.in.Resources {
		if b.lacksReference(o) {
			continue
		}
		for _, name := range o.Secrets() {
			out = append(out, config.PasswordSecret{Namespace: b.in.Namespace, Name: name, Type: config.PasswordSecretType, HasKey: true, Password: config.NewSecret("unread")})
		}
	}
	return out
}

// lacksReference reports whether the controller refuses an object for what it refers to.
func (b *builder) lacksReference(o config.Object) bool {
	_, refused := b.in.Refused[o.ID]
	return refused && o.Judged == config.VerdictMissing
}

// services adds the Services with their addresses and what is decided about those.
func (b *builder) services() {
	b.t.others = map[cluster.Key]bool{}
	if b.s.Config != nil {
		b.plan = assign.Assign(b.s, alloc.New(nil), assign.Options{Class: b.in.Class})
	}
	updates := b.plan.Updates
	for _, svc := range b.s.Services {
		var update *assign.Update
		if len(updates) > 0 && updates[0].Service == svc {
			update, updates = &updates[0], updates[1:]
		}
		if !svc.LoadBalancer {
			b.t.others[svc.Key] = true
			continue
		}
		b.index[svc.String()] = len(b.t.Services)
		b.keys = append(b.keys, svc.Key)
		b.t.Services = append(b.t.Services, b.service(svc, update))
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
				addr.Pool, addr.Advertisements = pool.Name, namesOf(pool.Ads(svc.Labels))
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

// namesOf names advertisements as KIND/NAME.
func namesOf(ads *announce.Ads) (out []string) {
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

// announced judges whether each Service is announced.
func (b *builder) announced() {
	var conditions map[cluster.Key]cluster.Condition
	if b.s.Config != nil {
		judge := condition.Judge{IgnoreExclude: b.in.IgnoreExclude}
		conditions = judge.Now(b.s, b.observed(), b.in.Class)
	}
	services := b.s.Services
	for i := range b.t.Services {
		for services[0].Key != b.keys[i] {
			services = services[1:]
		}
		s := &b.t.Services[i]
		if c, ok := conditions[b.keys[i]]; ok {
			s.Announced = judgementOf(c)
		} else if c := services[0].Condition(condition.TypeAnnounced); c != nil {
			s.Announced = judgementOf(*c)
		}
		if !s.Announced.True && len(s.Announcers) > 0 { // without a configuration nothing is judged
			s.Announced = Judgement{True: true, Reason: status.Announced, Message: announcersText(s.Announcers)}
		}
		s.State = b.stateOf(s)
		if s.State == StateAnnounced {
			if s.Lacks = lacks(s); len(s.Lacks) > 0 {
				s.State = StateDegraded
			}
		}
	}
}

// observed returns what nodes were seen to announce.
func (b *builder) observed() condition.Observed {
	o := condition.Observed{Reported: !b.in.unasked(KindStatuses) || b.someAsked()}
	var announcers table.Editor[cluster.Key, string]
	// Most Services are announced alike.
	texts := map[string]string{}
	var key []byte
	for i := range b.t.Services {
		all := b.t.Services[i].Announcers
		if len(all) == 0 {
			continue
		}
		key = key[:0]
		for _, a := range all {
			key = append(append(key, a.Node...), a.Protocol...)
			for _, ends := range [][]string{a.Peers, a.Interfaces} {
				for _, end := range ends {
					key = append(append(key, ' '), end...)
				}
				key = append(key, '|')
			}
		}
		text, known := texts[string(key)]
		if !known {
			text = announcersText(all)
			texts[string(key)] = text
		}
		announcers.Set(b.keys[i], text)
	}
	o.Announcers = announcers.Table()
	if !b.in.unasked(KindNodes) && !b.in.unasked(KindEndpointSlices) {
		o.Reach = &condition.Reach{Nodes: b.s.Nodes, Endpoints: cluster.TablesOf(b.s).Endpoints}
	}
	o.Nowhere = b.nowhere
	for _, p := range b.t.Peers {
		for _, s := range p.Sessions {
			if !s.Wanted || s.From == FromRules {
				continue
			}
			if o.Sessions == nil {
				o.Sessions = cluster.NodeSessions{}
			}
			o.Sessions[s.Node] = append(o.Sessions[s.Node], cluster.SessionState{Peer: p.Name, Up: s.Up, Since: s.Since, Reason: s.Reason, Message: s.Message})
		}
	}
	return o
}

// nowhere reports whether all nodes say that they lack an interface.
func (b *builder) nowhere(iface string) bool {
	return len(b.in.States) > 0 && !slices.ContainsFunc(b.in.States, func(s AgentState) bool { return !slices.Contains(s.Lacking, iface) })
}

// stateOf returns the State of a Service.
func (b *builder) stateOf(s *Service) string {
	switch {
	case s.Class != b.in.Class || s.Assigned.Reason == assign.ReasonForeign:
		return StateOther
	case len(s.Addresses) == 0:
		return StateNoAddress
	case s.Announced.True:
		return StateAnnounced
	case s.Announced.Reason == "":
		return StateUnknown
	case s.Announced.Reason == condition.ReasonNotAnnounced && b.in.unasked(KindStatuses) && !b.someAsked():
		return StateUnknown
	}
	return StateNotAnnounced
}

func (b *builder) someAsked() bool {
	return slices.ContainsFunc(b.in.Agents, func(a AgentPod) bool { return a.Report != nil })
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
		}
		for _, r := range p.Addresses {
			out.Addresses = append(out.Addresses, r.String())
		}
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
}
