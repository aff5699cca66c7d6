// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
	"github.com/heraldlb/herald/wake"
)

// An Answer is an address that a node is to answer for on layer 2.
type Answer struct {
	Addr       netip.Addr
	Interfaces []string // names, sorted; none: every suitable one
	Fresh      bool     // no agent of the cluster is known to have announced it before
	Quiet      bool     // answer questions, and send nothing else: another node is elected
	Standby    bool     // another node owns it
	StandbyOn  []string // interfaces, sorted, on which another node answers: answer there only what that one does not
	Round      uint64   // another number than before: announce it from the beginning
}

// An Outcome is what a node does: what the newest decisions ask for, and what it did
// before until that has been replaced.
type Outcome struct {
	BGP       render.Config
	Answers   []Answer          // in address order
	Decisions []status.Decision // by Service, address and protocol
	Next      time.Time         // decide again then, should nothing change before; zero: no need
	Ask       bool              // ask other nodes what they have sent
	GivenUp   []netip.Addr      // in order: withdrawn though no other node was seen to announce them
}

// A Memory is what a node's loop has to remember from one Outcome to the next.
// The zero value is that of a node that announces nothing. It is not safe for
// concurrent use: the loop owns it.
type Memory struct {
	Times Times // zero: DefaultTimes

	switches  Switches
	partings  partings
	bgp       render.Config
	answers   []Answer
	decisions []status.Decision
	rounds    map[netip.Addr]round
	gaps      int
}

// A round is how often an address was announced from the beginning.
type round struct {
	number     uint64
	rivals     []string  // other members that had announced it too, in the last pass
	challenged time.Time // when a node that gossip does not reach was last heard to
}

// Next decides what the node does now: it makes before it breaks. sent reports whether
// routers were sent all these routes. gaps counts how often the agent did not run for a
// while; after one, all that it answers for is announced from the beginning.
func (m *Memory) Next(bgp announce.Desired, layer2 announce.DesiredLayer2, gaps int, sent func([]netip.Prefix) bool, now time.Time) Outcome {
	if m.switches == nil {
		m.switches, m.rounds = Switches{}, map[netip.Addr]round{}
	}
	if m.Times == (Times{}) {
		m.Times = DefaultTimes
	}
	m.gaps = gaps
	times := m.Times
	times.Drain = cmp.Or(bgp.Drain.Hold, times.Drain)
	steps, next := m.switches.Step(Inputs(bgp, layer2, sent), now, times)
	over := m.overdue(bgp, layer2, steps)
	parted := m.partings.step(bgp.Parted, func(r netip.Prefix) *render.Class { return announce.ClassOf(m.bgp, r) }, now, times)
	out := Outcome{
		BGP:       announce.KeepNeighborsOf(announce.KeepRoutes(bgp.BGP, m.bgp, over.routes), m.bgp, parted.neighbors),
		Answers:   m.answer(layer2, steps, over.answers),
		Decisions: parted.note(decisionsOf(announce.MergeDecisions(bgp.Decisions, layer2.Decisions), m.decisions, steps, over, bgp.Left)),
		Next:      wake.Earlier(next, parted.next),
		Ask:       !bgp.Drain.IsZero() || m.leaves(bgp) || len(parted.parts) > 0 || len(bgp.Kept) > 0,
		GivenUp:   parted.givenUp,
	}
	for addr, step := range steps {
		if step.GivenUp != 0 {
			out.GivenUp = append(out.GivenUp, addr)
		}
	}
	slices.SortFunc(out.GivenUp, netip.Addr.Compare)
	out.GivenUp = slices.Compact(out.GivenUp)
	noteInterfaces(out.Decisions, out.Answers)
	m.bgp, m.answers, m.decisions = out.BGP, out.Answers, out.Decisions
	return out
}

// Announces reports whether the node announces an address, over any protocol, by
// the newest Outcome.
func (m *Memory) Announces(addr netip.Addr) bool { return m.switches.announces(addr) }

// Sends returns the routes that the node announces by the newest Outcome.
func (m *Memory) Sends() announce.Networks {
	return table.Of(func(yield func(netip.Prefix, *render.Class) bool) {
		for _, n := range m.bgp.Networks {
			if !yield(n.Prefix, &m.bgp.Classes[n.Class]) {
				return
			}
		}
	})
}

// leaves reports whether the node still announces a route that others take over.
func (m *Memory) leaves(bgp announce.Desired) bool {
	for addr := range bgp.Left {
		if m.switches.announces(addr) {
			return true
		}
	}
	return false
}

// noteInterfaces adds the interfaces to decisions about layer 2 that are limited to some.
func noteInterfaces(decisions []status.Decision, answers []Answer) {
	restricted := map[netip.Addr][]string{}
	for _, a := range answers {
		if len(a.Interfaces) > 0 {
			restricted[a.Addr] = a.Interfaces
		}
	}
	if len(restricted) == 0 {
		return
	}
	for i := range decisions {
		if d := &decisions[i]; d.Announce && d.Protocol == status.Layer2 {
			d.Interfaces = restricted[d.Addr]
		}
	}
}

// An overtime lists the addresses, in order, that are announced though the
// newest decisions do not say so.
type overtime struct{ routes, answers []netip.Addr }

// of returns what is announced in overtime for an address.
func (o overtime) of(addr netip.Addr) (p Protocols) {
	if _, ok := slices.BinarySearchFunc(o.routes, addr, netip.Addr.Compare); ok {
		p |= ViaBGP
	}
	if _, ok := slices.BinarySearchFunc(o.answers, addr, netip.Addr.Compare); ok {
		p |= ViaLayer2
	}
	return p
}

// overdue compares the steps of the switches with the decisions.
func (m *Memory) overdue(bgp announce.Desired, layer2 announce.DesiredLayer2, steps map[netip.Addr]Output) overtime {
	announced := make(map[netip.Addr]Protocols, len(steps))
	for _, d := range bgp.Decisions {
		if d.Announce && d.Protocol == status.BGP {
			announced[d.Addr] |= ViaBGP
		}
	}
	for _, l := range layer2.Announce {
		if !l.Standby {
			announced[l.Addr] |= ViaLayer2
		}
	}
	var over overtime
	for addr, step := range steps {
		more := step.Announce &^ announced[addr]
		if more.Has(ViaBGP) {
			over.routes = append(over.routes, addr)
		}
		if more.Has(ViaLayer2) {
			over.answers = append(over.answers, addr)
		}
	}
	slices.SortFunc(over.routes, netip.Addr.Compare)
	slices.SortFunc(over.answers, netip.Addr.Compare)
	return over
}

// answer returns what to answer for: what this node is elected for, and what it
// answered for before in its overtime.
func (m *Memory) answer(layer2 announce.DesiredLayer2, steps map[netip.Addr]Output, over []netip.Addr) []Answer {
	out := make([]Answer, 0, len(layer2.Announce)+len(over))
	rounds := make(map[netip.Addr]round, len(layer2.Announce))
	for _, l := range layer2.Announce {
		has := steps[l.Addr].Announce.Has(ViaLayer2)
		if l.Standby && !has && !layer2.Stale {
			out = append(out, Answer{Addr: l.Addr, Interfaces: l.Interfaces, Standby: true, StandbyOn: l.StandbyOn})
		}
		if l.Standby || !has {
			continue
		}
		r := m.rounds[l.Addr].next(l)
		rounds[l.Addr] = r
		out = append(out, r.answer(l, m.gaps))
	}
	for _, addr := range over {
		i, ok := slices.BinarySearchFunc(m.answers, addr, func(a Answer, addr netip.Addr) int { return a.Addr.Compare(addr) })
		if !ok {
			continue
		}
		a := m.answers[i]
		a.Fresh, a.Quiet = false, steps[addr].Quiet
		rounds[addr] = m.rounds[addr]
		out = append(out, a)
	}
	m.rounds = rounds
	slices.SortFunc(out, func(a, b Answer) int { return a.Addr.Compare(b.Addr) })
	return out
}

// next returns the round of an address that the node owns.
func (r round) next(l announce.Ownership) round {
	if lost(r.rivals, l.Rivals) || l.Challenged.After(r.challenged) {
		r.number++ // who has gone, or gives way, may have been the last one heard
	}
	r.rivals, r.challenged = l.Rivals, l.Challenged
	return r
}

// answer returns what the node that owns an address is to do.
func (r round) answer(l announce.Ownership, gaps int) Answer {
	return Answer{Addr: l.Addr, Interfaces: l.Interfaces, StandbyOn: l.StandbyOn, Fresh: l.Fresh, Round: r.number + uint64(gaps)}
}

// lost reports whether one of before is not in after.
func lost(before, after []string) bool {
	return slices.ContainsFunc(before, func(name string) bool { return !slices.Contains(after, name) })
}

// decisionsOf marks the decisions in overtime as announced, as they were before.
func decisionsOf(all, before []status.Decision, steps map[netip.Addr]Output, over overtime, left map[netip.Addr]announce.Succession) []status.Decision {
	if len(over.routes)+len(over.answers) == 0 {
		return all
	}
	out := make([]status.Decision, 0, len(all)+len(over.routes)+len(over.answers))
	for len(all) > 0 {
		n := 1 // decisions about the same address of the same Service
		for n < len(all) && all[n].Service == all[0].Service && all[n].Addr == all[0].Addr {
			n++
		}
		out = appendOvertime(out, all[:n], before, steps[all[0].Addr], over.of(all[0].Addr), left)
		all = all[n:]
	}
	return out
}

// appendOvertime appends the decisions about one address of one Service to out, of which
// over is announced in overtime.
func appendOvertime(out, about, before []status.Decision, step Output, over Protocols, left map[netip.Addr]announce.Succession) []status.Decision {
	if over == 0 {
		return append(out, about...)
	}
	addr, routes, answers := about[0].Addr, over.Has(ViaBGP), over.Has(ViaLayer2)
	for _, p := range []struct {
		protocol status.Protocol
		over     bool
		reason   status.Reason
	}{
		{status.BGP, routes, status.Switching},
		{status.Layer2, answers, status.Switching},
	} {
		d := status.Decision{Service: about[0].Service, Addr: addr, Pool: about[0].Pool, Protocol: p.protocol}
		i := slices.IndexFunc(about, func(d status.Decision) bool { return d.Protocol == p.protocol })
		if i >= 0 {
			d = about[i]
		} else if !p.over {
			continue
		}
		if p.over {
			successors, leaves := left[addr]
			leaves = leaves && p.protocol == status.BGP && i >= 0
			quiet := p.protocol == status.Layer2 && step.Quiet
			handing := d.Reason == status.NodeDraining || quiet || leaves
			if leaves {
				d.Detail = announce.LeftWhy(d.Reason, successors)
			}
			if quiet && step.Last {
				d.Detail, d.Last = announce.LastAnnouncer("no answer was heard yet of the other: "+d.Detail), true
			}
			if i, ok := slices.BinarySearchFunc(before, d, announce.CompareDecisions); ok && len(d.Routes) == 0 {
				d.Routes, d.Peers = before[i].Routes, before[i].Peers
			}
			d.Announce, d.Reason = true, p.reason
			if handing {
				d.Reason = status.HandingOver
			}
		}
		out = append(out, d)
	}
	return out
}
