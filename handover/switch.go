// SPDX-License-Identifier: Apache-2.0

// Package handover makes before it breaks: it decides how long a node goes on with what
// it announced before, until what replaces that is seen to be in force. It is pure,
// and remembers one node's past.
package handover

import (
	"strings"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/wake"
)

// Protocols is a set of protocols.
type Protocols uint8

// The sets of one protocol; combine them with |.
const (
	ViaBGP Protocols = 1 << iota
	ViaLayer2
)

// Has reports whether all protocols of o are in p.
func (p Protocols) Has(o Protocols) bool { return p&o == o }

// String returns the protocols as status spells them, joined by "+".
func (p Protocols) String() string {
	var names []string
	if p.Has(ViaBGP) {
		names = append(names, string(status.BGP))
	}
	if p.Has(ViaLayer2) {
		names = append(names, string(status.Layer2))
	}
	return strings.Join(names, "+")
}

// Times bound how long a node goes on with what is wanted no more.
type Times struct {
	Hold     time.Duration // the old protocol, after the new one is confirmed
	Limit    time.Duration // the old protocol, and answering for another owner, after the change, confirmed or not
	Handover time.Duration // answering after another owner was heard, if gossip does not reach that one; and until one that gossip reaches is late
	Leave    time.Duration // a route that other nodes are to announce, if none of them is seen to
	Follow   time.Duration // likewise, once one of them is
	Drain    time.Duration // the route of a node that drains, after another node announces it too
}

// DefaultTimes are long enough for the neighbour entries and routes of
// clients to follow, and for a peer that was never up not to matter for long.
var DefaultTimes = Times{Hold: 5 * time.Second, Limit: 30 * time.Second, Handover: time.Second, Leave: 5 * time.Minute, Follow: time.Second, Drain: cluster.DefaultDrainHold}

// A Input is what is known of one address at one moment.
type Input struct {
	Wanted    Protocols // by the advertisements of its pool, whichever nodes announce it; none: nobody is to announce it any more
	Here      Protocols // of these, those that this node is to announce it over
	Able      bool      // this node still reaches usable endpoints, and may announce
	Confirmed Protocols // in force as far as known, here or elsewhere: the route is in the Adj-RIB-Out of an established session, a member holds the address
	Successor bool      // the node that is elected on layer 2, another one, holds the address
	Nobody    bool      // no other node may answer on layer 2 by the rules
	Heard     bool      // that node was heard to announce it, but gossip does not reach it
	Last      bool      // no other node announces the address over BGP; this one does though it drains
	Draining  bool      // this node drains, and leaves the route to others that were seen to announce it
	Drains    bool      // this node drains, unless it is forced to: it answers on layer 2 until another node does
	Left      bool      // other nodes are to announce the address over BGP, this one is not any more
	Taken     bool      // one of them was seen to announce the route
	Blind     bool      // who is alive is not known: this node must not answer on layer 2
}

// A Output is what a node does about one address.
type Output struct {
	Announce Protocols
	Quiet    bool      // on layer 2: answer, but announce nothing unasked; another node is elected
	Last     bool      // on layer 2: likewise, and that node should have answered by now
	GivenUp  Protocols // what is announced no more though nobody was seen to announce it instead
	Next     time.Time // step again then, should nothing change before; zero: no need
}

// A Switch is the memory of one address on one node from step to step. The zero
// value is that of an address that is not announced.
//
// It makes before it breaks. When other protocols are wanted for an address the
// new ones are announced at once, and an old one stays until all new ones have
// been confirmed for the hold time, or the limit has passed since the change.
// When another node is elected to answer, this one still does until that one
// holds the address, as long as it takes if this one drains. When other nodes are
// to announce a route, this one does until a moment after one of them was seen to.
// When this node drains and was the last to announce a route,
// the route stays until routers have had time to follow those who announce it
// now. Whatever the reason, an address that is wanted no more, or
// that this node cannot serve any longer, is withdrawn at once.
type Switch struct {
	announced Protocols
	old       Protocols // of these, what is wanted no more
	changed   time.Time // since when old stays
	confirmed time.Time // since when the new ones are confirmed; zero: they are not
	handing   time.Time // since when another node is elected; zero: none is, or this one never answered
	left      time.Time // since when other nodes are to announce the route; zero: they are not, or this one never did
	taken     time.Time // since when one of them does; zero: none does
	last      bool      // no other node announced the route
	followed  time.Time // since when another one does; zero: not since a moment ago
}

// Step decides what to announce now. Time must not go backwards.
func (s Switch) Step(in Input, now time.Time, t Times) (Switch, Output) {
	out := Output{Announce: in.Here & in.Wanted}
	next := Switch{}
	held := s.announced
	if in.Blind {
		out.Announce &^= ViaLayer2
		held &^= ViaLayer2
	}

	if old := held &^ in.Wanted; old != 0 && in.Wanted != 0 && in.Able {
		next.old, next.changed = old, now
		if old == s.old {
			next.changed, next.confirmed = s.changed, s.confirmed
		}
		switch {
		case !in.Confirmed.Has(in.Wanted):
			next.confirmed = time.Time{}
		case next.confirmed.IsZero():
			next.confirmed = now
		}
		until := next.changed.Add(t.Limit)
		if !next.confirmed.IsZero() {
			until = wake.Earlier(until, next.confirmed.Add(t.Hold))
		}
		if now.Before(until) {
			out.Announce |= old
			out.Next = until
		} else {
			if next.confirmed.IsZero() {
				out.GivenUp |= old
			}
			next = Switch{}
		}
	}

	if held.Has(ViaLayer2) && in.Wanted.Has(ViaLayer2) && !in.Here.Has(ViaLayer2) && !in.Successor {
		next.handing = s.handing
		if next.handing.IsZero() {
			next.handing = now
		}
		late, until := next.handing.Add(t.Handover), next.handing.Add(t.Limit)
		if in.Heard || in.Nobody {
			until = late
		}
		forever := in.Drains && !in.Heard
		if !forever && !now.Before(until) {
			next.handing = time.Time{}
			if !in.Heard && !in.Nobody {
				out.GivenUp |= ViaLayer2
			}
		} else {
			out.Announce |= ViaLayer2
			out.Quiet = true
			out.Last = forever && !now.Before(late)
			switch {
			case !forever:
				out.Next = wake.Earlier(out.Next, until)
			case !out.Last:
				out.Next = wake.Earlier(out.Next, late)
			}
		}
	}

	if held.Has(ViaBGP) && in.Wanted.Has(ViaBGP) && !in.Here.Has(ViaBGP) && in.Left {
		next.left, next.taken = s.left, s.taken
		if next.left.IsZero() {
			next.left = now
		}
		switch {
		case !in.Taken:
			next.taken = time.Time{}
		case next.taken.IsZero():
			next.taken = now
		}
		until := next.left.Add(t.Leave)
		if !next.taken.IsZero() {
			until = wake.Earlier(until, next.taken.Add(t.Follow))
		}
		if now.Before(until) {
			out.Announce |= ViaBGP
			out.Next = wake.Earlier(out.Next, until)
		} else {
			if next.taken.IsZero() {
				out.GivenUp |= ViaBGP
			}
			next.left, next.taken = time.Time{}, time.Time{}
		}
	}

	next.last, next.followed = in.Last, s.followed
	if s.last && !in.Last {
		next.followed = now
	}
	if until := next.followed.Add(t.Drain); next.followed.IsZero() || !now.Before(until) {
		next.followed = time.Time{}
	} else if held.Has(ViaBGP) && in.Draining {
		out.Announce |= ViaBGP
		out.Next = wake.Earlier(out.Next, until)
	}

	next.announced = out.Announce
	return next, out
}

// Idle reports whether there is nothing to remember.
func (s Switch) Idle() bool { return s == Switch{} }
