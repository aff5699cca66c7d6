// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
	"github.com/heraldlb/herald/wake"
)

// Answers are what a node is to answer for on layer 2. They are read-only; while one stays
// equal, it stays the same.
type Answers = table.Table[netip.Addr, *Answer]

// OutcomeTables are an Outcome for a loop that decides again and again.
type OutcomeTables struct {
	BGP       render.Config // without classes and networks
	Networks  announce.Networks
	Answers   Answers
	Decisions announce.Decisions
	Next      time.Time
	Ask       bool
	GivenUp   []netip.Addr
}

// List returns the same as lists.
func (t OutcomeTables) List() Outcome {
	out := Outcome{BGP: t.BGP, Decisions: announce.ListDecisions(t.Decisions), Next: t.Next, Ask: t.Ask, GivenUp: t.GivenUp}
	out.BGP.Classes, out.BGP.Networks = render.List(t.Networks)
	for _, a := range t.Answers.All() {
		out.Answers = append(out.Answers, *a)
	}
	return out
}

// Equal reports whether both ask for the same.
func (a Answer) Equal(o Answer) bool {
	return a.Addr == o.Addr && a.Fresh == o.Fresh && a.Quiet == o.Quiet && a.Standby == o.Standby && a.Round == o.Round &&
		slices.Equal(a.Interfaces, o.Interfaces) && slices.Equal(a.StandbyOn, o.StandbyOn)
}

// A TableMemory decides the same as a Memory with the same past, and again only about the
// addresses and Services whose input has changed, or whose time has come. The zero value is
// that of a node that announces nothing. It is not safe for concurrent use: the loop owns it.
type TableMemory struct {
	Times Times // zero: DefaultTimes

	started bool
	bgp     announce.DesiredTables // of the last pass, as the fields up to the blank line
	layer2  announce.Layer2Tables
	gaps    int
	last    map[netip.Addr]bool

	users     map[netip.Addr][]cluster.Key // Services with decisions about an address
	announced map[netip.Addr]Protocols
	switches  Switches                 // of addresses with more to remember than that: few, most of the time
	pending   map[netip.Addr]bool      // addresses that may change though their input does not
	outputs   map[netip.Addr]Output    // of over
	over      map[netip.Addr]Protocols // announced, though the newest decisions do not say so
	rounds    map[netip.Addr]round
	partings  partings
	parted    parted
	networks  announce.Networks
	answers   table.Editor[netip.Addr, *Answer]
	decisions table.Editor[cluster.Key, []status.Decision]
}

// Announces reports whether the node announces an address, over any protocol, by
// the newest outcome.
func (m *TableMemory) Announces(addr netip.Addr) bool { return m.announced[addr] != 0 }

// Sends returns the routes that the node announces by the newest outcome.
func (m *TableMemory) Sends() announce.Networks { return m.networks }

// class returns how the node announces a route; nil: it does not.
func (m *TableMemory) class(route netip.Prefix) *render.Class {
	class, _ := m.networks.Get(route)
	return class
}

// Next decides what the node does now, see Memory.Next.
func (m *TableMemory) Next(bgp announce.DesiredTables, layer2 announce.Layer2Tables, gaps int, sent func([]netip.Prefix) bool, now time.Time) OutcomeTables {
	if m.switches == nil {
		m.announced = map[netip.Addr]Protocols{}
		m.switches, m.rounds, m.users = Switches{}, map[netip.Addr]round{}, map[netip.Addr][]cluster.Key{}
		m.pending, m.outputs, m.over = map[netip.Addr]bool{}, map[netip.Addr]Output{}, map[netip.Addr]Protocols{}
	}
	times := cmp.Or(m.Times, DefaultTimes)
	times.Drain = cmp.Or(bgp.Frame.Drain.Hold, times.Drain)
	services, addrs := m.changes(bgp, layer2, gaps)
	m.bgp, m.layer2, m.gaps, m.started = bgp, layer2, gaps, true
	parted := m.partings.step(bgp.Frame.Parted, m.class, now, times)
	out := OutcomeTables{BGP: bgp.Frame.BGP, GivenUp: parted.givenUp, Next: parted.next}
	if len(m.pending) == 0 {
		m.pending = map[netip.Addr]bool{} // a map stays as large as it was once
	}
	for addr := range addrs {
		o := m.step(addr, sent, now, times)
		if o.GivenUp != 0 {
			out.GivenUp = append(out.GivenUp, addr)
		}
		out.Next = wake.Earlier(out.Next, o.Next)
		for _, key := range m.users[addr] {
			services[key] = true
		}
	}
	slices.SortFunc(out.GivenUp, netip.Addr.Compare)
	out.GivenUp = slices.Compact(out.GivenUp)
	m.partServices(m.parted, parted, services)
	m.parted = parted
	var routes []netip.Addr
	for addr, over := range m.over {
		if over.Has(ViaBGP) {
			routes = append(routes, addr)
		}
	}
	slices.SortFunc(routes, netip.Addr.Compare)
	kept := announce.KeepNetworks(bgp.Networks, m.networks, bgp.Frame.BGP.Neighbors, routes)
	m.networks = announce.KeepNeighbors(kept, m.networks, parted.neighbors)
	for key := range services {
		m.decide(key)
	}
	out.Networks, out.Answers, out.Decisions = m.networks, m.answers.Table(), m.decisions.Table()
	out.Ask = !bgp.Frame.Drain.IsZero() || m.leaves() || len(parted.parts) > 0 || len(bgp.Frame.Kept) > 0
	return out
}

// leaves reports whether the node still announces a route that others take over.
func (m *TableMemory) leaves() bool {
	for addr := range m.bgp.Frame.Left {
		if m.Announces(addr) {
			return true
		}
	}
	return false
}

// changes returns the Services and the addresses to decide about, and takes note of who
// has which addresses.
func (m *TableMemory) changes(bgp announce.DesiredTables, layer2 announce.Layer2Tables, gaps int) (services map[cluster.Key]bool, addrs map[netip.Addr]bool) {
	services, addrs = map[cluster.Key]bool{}, map[netip.Addr]bool{}
	for c := range table.Diff(m.bgp.Decisions, bgp.Decisions, announce.SameList) {
		services[c.Key] = true
	}
	for c := range table.Diff(m.layer2.Decisions, layer2.Decisions, announce.SameList) {
		services[c.Key] = true
	}
	for key := range services {
		for addr := range addrsOf(key, m.bgp.Decisions, m.layer2.Decisions) {
			addrs[addr] = true
			if i, ok := slices.BinarySearchFunc(m.users[addr], key, cluster.Key.Compare); ok {
				m.users[addr] = slices.Delete(m.users[addr], i, i+1)
			}
		}
		for addr := range addrsOf(key, bgp.Decisions, layer2.Decisions) {
			addrs[addr] = true
			if i, ok := slices.BinarySearchFunc(m.users[addr], key, cluster.Key.Compare); !ok {
				m.users[addr] = slices.Insert(m.users[addr], i, key)
			}
		}
	}
	for c := range table.Diff(m.layer2.Elections, layer2.Elections, table.Same) {
		addrs[c.Key] = true
	}
	for addr := range m.pending {
		addrs[addr] = true
	}
	for _, frame := range []announce.Desired{m.bgp.Frame, bgp.Frame} {
		for _, addr := range frame.Last {
			addrs[addr] = true
		}
		for addr := range frame.Left {
			addrs[addr] = true
		}
	}
	m.last = nil
	for _, addr := range bgp.Frame.Last {
		if m.last == nil {
			m.last = map[netip.Addr]bool{}
		}
		m.last[addr] = true
	}
	if !m.started || m.bgp.Frame.Drain != bgp.Frame.Drain || m.layer2.Stale != layer2.Stale || m.gaps != gaps {
		for addr := range m.users {
			addrs[addr] = true
		}
	}
	return services, addrs
}

// addrsOf yields the addresses of the decisions about a Service.
func addrsOf(key cluster.Key, lists ...announce.Decisions) func(yield func(netip.Addr) bool) {
	return func(yield func(netip.Addr) bool) {
		for _, list := range lists {
			of, _ := list.Get(key)
			for _, d := range of {
				if d.Addr.IsValid() && !yield(d.Addr) {
					return
				}
			}
		}
	}
}

// step decides about an address.
func (m *TableMemory) step(addr netip.Addr, sent func([]netip.Prefix) bool, now time.Time, times Times) Output {
	e, _ := m.layer2.Elections.Get(addr)
	in, known := m.input(addr, e, sent)
	if len(m.users[addr]) == 0 {
		delete(m.users, addr)
	}
	if !known {
		delete(m.announced, addr)
		delete(m.switches, addr)
		delete(m.pending, addr)
		delete(m.outputs, addr)
		delete(m.over, addr)
		delete(m.rounds, addr)
		m.answers.Delete(addr)
		return Output{}
	}
	before, changing := m.switches[addr]
	if !changing {
		before = Switch{announced: m.announced[addr]}
	}
	after, out := before.Step(in, now, times)
	keep(m.announced, addr, after.announced, after.announced != 0)
	keep(m.switches, addr, after, after != Switch{announced: after.announced})
	keep(m.pending, addr, true, after != before || !out.Next.IsZero() || out.GivenUp != 0)
	announced := in.Own & ViaBGP
	if e != nil && e.Announce != nil && !e.Announce.Standby {
		announced |= ViaLayer2
	}
	over := out.Announce &^ announced
	keep(m.over, addr, over, over != 0)
	keep(m.outputs, addr, out, over != 0)
	m.answer(addr, e, out, over)
	return out
}

// keep puts a value into a map, or takes it out.
func keep[K comparable, V any](in map[K]V, k K, v V, is bool) {
	if is {
		in[k] = v
	} else {
		delete(in, k)
	}
}

// input puts together what is known of an address, and reports whether a Service has it.
// Whether routers were sent a route matters only to what is wanted no more.
func (m *TableMemory) input(addr netip.Addr, e *announce.Election, sent func([]netip.Prefix) bool) (in Input, known bool) {
	var routes [][]netip.Prefix
	for _, key := range m.users[addr] {
		of, _ := m.bgp.Decisions.Get(key)
		for _, d := range of {
			if d.Addr != addr || d.Protocol != status.BGP {
				continue
			}
			if in, known = in.with(d, ViaBGP), true; d.Announce {
				routes = append(routes, d.Routes)
			}
		}
		of, _ = m.layer2.Decisions.Get(key)
		for _, d := range of {
			if d.Addr == addr {
				in, known = in.with(d, ViaLayer2), true
			}
		}
	}
	if m.announced[addr]&^in.Wanted != 0 && slices.ContainsFunc(routes, sent) {
		in.Confirmed |= ViaBGP
	}
	in.Last = m.last[addr]
	if left, ok := m.bgp.Frame.Left[addr]; ok {
		in = in.leaving(left)
	}
	in = in.draining(m.bgp.Frame.Drain)
	if in.MembersUnknown = m.layer2.Stale; e == nil {
		return in, known
	}
	if len(e.Held) > 0 {
		in.Confirmed |= ViaLayer2
	}
	in.Successor = !in.Own.Has(ViaLayer2) && e.HandedOver()
	in.Claimed = !in.Own.Has(ViaLayer2) && e.GivesWay()
	in.NoOther = e.NoOther
	return in, known
}

// answer decides what to answer for an address: as its owner, or as before in overtime.
func (m *TableMemory) answer(addr netip.Addr, e *announce.Election, step Output, over Protocols) {
	was, had := m.answers.Get(addr)
	now, has, round := Answer{}, false, m.rounds[addr]
	owns := e != nil && e.Announce != nil
	switch {
	case over.Has(ViaLayer2):
		if has = had; has {
			now = *was
			now.Fresh, now.Quiet = false, step.Quiet
		}
	case owns && e.Announce.Standby:
		has = !m.layer2.Stale
		now = Answer{Addr: addr, Interfaces: e.Announce.Interfaces, Standby: true, StandbyOn: e.Announce.StandbyOn}
	case owns && step.Announce.Has(ViaLayer2):
		round, has = round.next(*e.Announce), true
		now = round.answer(*e.Announce, m.gaps)
	}
	keep(m.rounds, addr, round, has && !(owns && e.Announce.Standby && !over.Has(ViaLayer2)))
	switch {
	case !has:
		m.answers.Delete(addr)
	case !had || !was.Equal(now):
		m.answers.Set(addr, &now)
	}
}

// decide puts together the decisions about a Service.
func (m *TableMemory) decide(key cluster.Key) {
	routes, _ := m.bgp.Decisions.Get(key)
	answers, _ := m.layer2.Decisions.Get(key)
	all := announce.MergeDecisions(routes, answers)
	before, _ := m.decisions.Get(key)
	if slices.ContainsFunc(all, func(d status.Decision) bool { return m.over[d.Addr] != 0 }) {
		var out []status.Decision
		for rest := all; len(rest) > 0; {
			n := 1 // decisions about the same address
			for n < len(rest) && rest[n].Addr == rest[0].Addr {
				n++
			}
			addr := rest[0].Addr
			out = appendOvertime(out, rest[:n], before, m.outputs[addr], m.over[addr], m.bgp.Frame.Left)
			rest = rest[n:]
		}
		all = out
	}
	all = m.parted.note(all)
	restricted := func(d status.Decision) []string {
		if !d.Announce || d.Protocol != status.Layer2 {
			return nil
		}
		a, ok := m.answers.Get(d.Addr)
		if !ok {
			return nil
		}
		return a.Interfaces
	}
	if slices.ContainsFunc(all, func(d status.Decision) bool { return len(restricted(d)) > 0 }) {
		all = slices.Clone(all)
		for i := range all {
			if on := restricted(all[i]); len(on) > 0 {
				all[i].Interfaces = on
			}
		}
	}
	announce.SetDecisions(&m.decisions, key, all)
}
