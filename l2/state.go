// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/table"
)

// A State is the state of the wanted announcements and of the interfaces.
type State struct {
	Addresses  []Address              // all wanted ones, sorted
	Interfaces []Interface            // all of the node, sorted by name
	Requests   map[Drop]uint64        // received packets by result, since the start
	Claims     map[ClaimResult]uint64 // of hosts with the hardware address of an agent, since the start
}

// An Address is the state of one wanted address.
type Address struct {
	Addr       netip.Addr
	Presences  []Presence // on each interface that serves it, sorted by name
	Confirmed  bool       // on at least one interface
	Conflict   Claim      // of the first stranger, with the time of the last claim of any; zero: long ago or never
	Claimants  int        // how many strangers claim it; more than 16 count as 16
	TakenBy    Claim      // the last claim of a friend; while the address is quiet or silent, of any host
	Contenders []Claim    // of agents that gossip has lost, and that answer for the address when asked
	Rival      Rival      // another load balancer on a node of the cluster that answers for it; zero: none lately

	Requests   uint64 // for it, without dropped ones
	Replies    uint64
	Gratuitous uint64 // unsolicited packets
}

// A Presence is an address on an interface.
type Presence struct {
	Interface string
	Phase     Phase
	Since     time.Time // of the phase
	Confirmed bool      // its first gratuitous packets were sent
}

// AnsweredOn returns the interfaces that the address is answered on, by name.
func (a *Address) AnsweredOn() (on []string) {
	for _, p := range a.Presences {
		if p.Phase.answers() {
			on = append(on, p.Interface)
		}
	}
	return on
}

// A Phase is what an interface does about an address.
type Phase int

// The phases.
const (
	Announced Phase = iota // it answers, and announces the address from time to time
	Quiet                  // it answers, but does not announce
	Probing                // it asks whether another host has the address
	Refused                // another host has the address; it probes again from time to time
	Standby                // another agent has the address; it answers only what nobody else does
	Deferred               // another load balancer on a node of the cluster answers; it asks until the other is silent
	phases
)

var phaseNames = [phases]string{Announced: "Announced", Quiet: "Quiet", Probing: "Probing", Refused: "Refused", Standby: "Standby", Deferred: "Deferred"}

// String returns the name of the constant.
func (p Phase) String() string {
	if p < 0 || p >= phases {
		return fmt.Sprintf("Phase(%d)", int(p))
	}
	return phaseNames[p]
}

// MarshalText returns the same as String.
func (p Phase) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// answers reports whether requests get a reply.
func (p Phase) answers() bool { return p == Announced || p == Quiet }

// A Claim is another host's statement that it has an address. The zero value is none.
type Claim struct {
	MAC       MAC
	Interface string    // on which it arrived
	At        time.Time // of the last one
}

// An Interface is a network interface and what it is used for.
type Interface struct {
	Link
	ARP, NDP Skip  // why it does not serve IPv4 and IPv6
	Err      error // what does not work on it at the moment
}

// A Seen is a State without its counts. It is read-only, and may be shared.
type Seen struct {
	Addresses  table.Table[netip.Addr, *Address] // while nothing about an address changes, it stays the same
	Interfaces []Interface                       // all of the node, sorted by name
}

// A report is what is seen, and the counters of the addresses.
type report struct {
	Seen
	counts table.Table[netip.Addr, *counters]
}

// Seen returns how far the wanted announcements are true.
func (a *Announcer) Seen() Seen { return a.last().Seen }

// State returns the same with counts. The caller may keep and change it.
func (a *Announcer) State() State {
	r := a.last()
	s := State{
		Addresses:  make([]Address, 0, r.Addresses.Len()),
		Interfaces: slices.Clone(r.Interfaces),
		Requests:   make(map[Drop]uint64, drops),
		Claims:     make(map[ClaimResult]uint64, claimResults),
	}
	for addr, seen := range r.Addresses.All() {
		d := *seen
		d.Presences, d.Contenders = slices.Clone(d.Presences), slices.Clone(d.Contenders)
		if count, ok := r.counts.Get(addr); ok {
			d.Requests = count.requests.Load()
			d.Replies = count.replies.Load()
			d.Gratuitous = count.gratuitous.Load()
		}
		s.Addresses = append(s.Addresses, d)
	}
	for r := range a.claims {
		s.Claims[ClaimResult(r)] = a.claims[r].Load()
	}
	for d := range a.requests {
		s.Requests[Drop(d)] = a.requests[d].Load()
	}
	return s
}

// makeReport returns the report of the engine's present state, which follows another.
func (e *engine) makeReport(last report) report {
	if e.changed {
		for addr := range last.Addresses.All() {
			e.touched[addr] = true
		}
		for addr := range e.records {
			e.touched[addr] = true
		}
	}
	addresses, counts := last.Addresses.Edit(), last.counts.Edit()
	for addr := range e.touched {
		rec := e.records[addr]
		if rec == nil {
			addresses.Delete(addr)
			counts.Delete(addr)
			continue
		}
		addresses.Set(addr, rec.seen())
		if was, ok := counts.Get(addr); !ok || was != rec.count {
			counts.Set(addr, rec.count)
		}
	}
	clear(e.touched)
	r := report{Seen{Addresses: addresses.Table()}, counts.Table()}
	for _, st := range e.stations {
		r.Interfaces = append(r.Interfaces, Interface{
			Link: st.link,
			ARP:  st.socket[ARP].skip,
			NDP:  st.socket[NDP].skip,
			Err:  st.err(),
		})
	}
	slices.SortFunc(r.Interfaces, func(a, b Interface) int { return cmp.Compare(a.Name, b.Name) })
	return r
}

// seen returns the state of an address.
func (rec *record) seen() *Address {
	d := &Address{
		Addr: rec.want.Addr, Conflict: rec.conflict, Claimants: len(rec.claimants), TakenBy: rec.takenBy,
		Contenders: rec.contenders(), Rival: rec.rival,
	}
	for _, p := range rec.presences {
		d.Presences = append(d.Presences, Presence{
			Interface: p.station.link.Name,
			Phase:     p.phase,
			Since:     p.since,
			Confirmed: p.confirmed,
		})
		d.Confirmed = d.Confirmed || p.confirmed
	}
	slices.SortFunc(d.Presences, func(a, b Presence) int { return cmp.Compare(a.Interface, b.Interface) })
	return d
}
