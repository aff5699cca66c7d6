// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// A Memory decides the same as Assign, pass after pass, and again only about the Services
// whose input has changed, and about those that do not have what they ask for. Objects of
// the cluster are immutable: the same pointer means the same. It is not safe for concurrent
// use.
//
// A Service that holds what it asks for keeps it whatever others do. What is said of it
// follows from the Service, its namespace, the pools, and the outsiders that have its
// addresses.
type Memory struct {
	allocator   *alloc.Allocator
	environment environment
	namespaces  map[string]map[string]string
	services    table.Table[cluster.Key, *cluster.Service]

	open    map[cluster.Key]bool // to be decided about in the next pass
	edition uint64               // of the Allocator before the last pass

	updates table.Editor[cluster.Key, *Update]
	clashes map[cluster.Key][]status.Clash
	listed  []status.Clash // clashes as a list; nil: to be made
	usage   []alloc.Usage  // that pools was made of
	pools   []status.Pool
}

// An environment is what all decisions depend on. It compares with ==.
type environment struct {
	config *config.Config
	class  string
	grace  time.Duration
}

// NewMemory returns a Memory that has decided nothing.
func NewMemory() *Memory {
	return &Memory{allocator: alloc.New(nil), open: map[cluster.Key]bool{}, clashes: map[cluster.Key][]status.Clash{}}
}

// Next decides which Service has which address, see Assign.
func (m *Memory) Next(s cluster.Tables, opts Options) PlanTables {
	if s.Config == nil {
		return PlanTables{}
	}
	expired := m.allocator.Edition()
	m.allocator.Expire(opts.Now)
	same := m.allocator.Edition() == expired && expired == m.edition
	dirty, gone, all := m.begin(s, opts)
	m.edition = m.allocator.Edition()
	// If nothing has changed since the last pass, nor did that pass change what anybody
	// holds, another one has the same outcome.
	if !same || all || len(dirty)+len(gone) > 0 {
		m.decide(m.setOutsiders(dirty, gone, all, opts), gone, opts)
	}
	return m.plan(opts.Now)
}

// begin takes in the input. It returns the Services to decide about, or that these are all,
// and those that are gone.
func (m *Memory) begin(s cluster.Tables, opts Options) (dirty map[cluster.Key]bool, gone []cluster.Key, all bool) {
	m.allocator.SetPools(s.Config.Pools)
	dirty = map[cluster.Key]bool{}
	for c := range table.Diff(m.services, s.Services, table.Same) {
		if c.After != nil {
			dirty[c.Key] = true
			continue
		}
		gone = append(gone, c.Key)
	}
	now := environment{s.Config, opts.Class, opts.Grace}
	relabelled := m.relabelled(s.Namespaces)
	all = now != m.environment
	if !all && len(relabelled) > 0 {
		for key := range s.Services.All() {
			if relabelled[key.Namespace] {
				dirty[key] = true
			}
		}
	}
	m.environment, m.namespaces, m.services = now, s.Namespaces, s.Services
	return dirty, gone, all
}

// relabelled returns the namespaces whose labels have changed.
func (m *Memory) relabelled(now map[string]map[string]string) map[string]bool {
	out := map[string]bool{}
	if reflect.ValueOf(now).Pointer() == reflect.ValueOf(m.namespaces).Pointer() {
		return out // one map, of which nobody changes anything
	}
	for name, labels := range now {
		if !maps.Equal(m.namespaces[name], labels) {
			out[name] = true
		}
	}
	for name := range m.namespaces {
		if _, ok := now[name]; !ok {
			out[name] = true
		}
	}
	return out
}

// decide decides about these Services, in the order of their keys.
func (m *Memory) decide(considered []*cluster.Service, gone []cluster.Key, opts Options) {
	p := &assignment{Allocator: m.allocator, namespaces: m.namespaces, opts: opts}
	p.sift(considered)
	for _, key := range gone {
		if _, held := p.Get(alloc.Key(key)); held {
			p.gone(alloc.Key(key))
		}
		m.forget(key)
	}
	p.decide()
	m.remember(p, considered)
}

// setOutsiders has the Allocator know the outsiders among Services. It returns the Services
// to decide about, with those that have an address of an outsider in common.
func (m *Memory) setOutsiders(dirty map[cluster.Key]bool, gone []cluster.Key, all bool, opts Options) []*cluster.Service {
	if !all {
		maps.Copy(dirty, m.open)
	}
	var met []alloc.Key
	for _, svc := range m.among(dirty, all) {
		met = append(met, m.allocator.SetOutsider(m.outsider(svc, opts))...)
	}
	for _, key := range gone {
		met = append(met, m.allocator.SetOutsider(alloc.Outsider{Service: alloc.Key(key)})...)
	}
	for _, key := range met {
		dirty[cluster.Key(key)] = true
	}
	return m.among(dirty, all)
}

// among returns those of the Services that there are, or all, in the order of their keys.
func (m *Memory) among(keys map[cluster.Key]bool, all bool) (out []*cluster.Service) {
	if all {
		for _, svc := range m.services.All() {
			out = append(out, svc)
		}
		return out
	}
	for _, key := range slices.SortedFunc(maps.Keys(keys), cluster.Key.Compare) {
		if svc, ok := m.services.Get(key); ok {
			out = append(out, svc)
		}
	}
	return out
}

// forget drops what was decided about a Service.
func (m *Memory) forget(key cluster.Key) {
	delete(m.open, key)
	m.updates.Delete(key)
	if _, ok := m.clashes[key]; ok {
		delete(m.clashes, key)
		m.listed = nil
	}
}

// remember keeps what was decided about Services.
func (m *Memory) remember(p *assignment, considered []*cluster.Service) {
	updates := make(map[cluster.Key]*Update, len(p.updates))
	for i := range p.updates {
		u := p.updates[i].Update
		updates[u.Service.Key] = &u
	}
	clashes := map[cluster.Key][]status.Clash{}
	for _, c := range p.clashes {
		key := cluster.ParseKey(c.Service)
		clashes[key] = append(clashes[key], c)
	}
	for _, svc := range considered {
		key := svc.Key
		delete(m.open, key)
		switch now := updates[key]; {
		case now == nil:
			m.updates.Delete(key)
		default:
			if before, _ := m.updates.Get(key); !now.Same(before) {
				m.updates.Set(key, now)
			}
		}
		if !slices.Equal(m.clashes[key], clashes[key]) {
			m.listed = nil
		}
		if m.clashes[key] = clashes[key]; clashes[key] == nil {
			delete(m.clashes, key)
		}
	}
	for _, ap := range p.applicants {
		m.open[ap.svc.Key] = true
	}
	for _, key := range p.released {
		m.open[key] = true
	}
}

// plan returns all that was decided.
func (m *Memory) plan(now time.Time) PlanTables {
	if m.listed == nil && len(m.clashes) > 0 {
		for _, of := range m.clashes {
			m.listed = append(m.listed, of...)
		}
		sortClashes(m.listed)
	}
	if usage := m.allocator.Usage(); len(usage) != len(m.usage) || len(usage) > 0 && &usage[0] != &m.usage[0] {
		m.usage, m.pools = usage, poolsOf(usage)
	}
	return PlanTables{Updates: m.updates.Table(), Pools: m.pools, Clashes: m.listed, Next: m.allocator.Expire(now)}
}

// outsider returns what a Service is as an outsider, see outsiders; one without addresses
// is none.
func (m *Memory) outsider(svc *cluster.Service, opts Options) alloc.Outsider {
	o := alloc.Outsider{Service: alloc.Key(svc.Key)}
	if !svc.LoadBalancer || svc.Class == opts.Class || len(svc.Ingress) == 0 {
		return o
	}
	if _, ours := m.allocator.Get(o.Service); ours {
		return o
	}
	o.Whose, o.Addrs = whose(svc), outsideAddrs(nil, svc)
	return o
}

// outsideAddrs appends the addresses in the status of svc to addrs, each once.
func outsideAddrs(addrs []netip.Addr, svc *cluster.Service) []netip.Addr {
	for _, s := range svc.Ingress {
		if addr, err := netip.ParseAddr(s); err == nil && !slices.Contains(addrs, addr.Unmap()) {
			addrs = append(addrs, addr.Unmap())
		}
	}
	return addrs
}
