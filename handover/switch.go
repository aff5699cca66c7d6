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

// Times bound how long a node keeps announcing what is wanted no more.
type Times struct {
	Hold     time.Duration // the old protocol, after the new one is confirmed
	Limit    time.Duration // the old protocol, and answering for another owner, after the change, confirmed or not
	Handover time.Duration // answering after another owner was heard, if gossip does not reach that one; and until one that gossip reaches is late
	Leave    time.Duration // a route that other nodes are to announce, if none of them is seen to
	Follow   time.Duration // likewise, once one of them is
	Brief    time.Duration // likewise, if this node's probe fails: nodes on which it fails at the same time learn of each other
	Drain    time.Duration // the route of a node that drains, after another node announces it too
}

// DefaultTimes are long enough for the neighbour entries and routes of
// clients to follow, and for a peer that was never up not to matter for long.
var DefaultTimes = Times{Hold: 5 * time.Second, Limit: 30 * time.Second, Handover: time.Second, Leave: 5 * time.Minute, Follow: time.Second, Brief: 500 * time.Millisecond, Drain: cluster.DefaultDrainHold}

// A Input is what is known of one address at one moment.
type Input struct {
	Wanted         Protocols // what its pool is advertised over, by any node; none: it is to be withdrawn everywhere
	Own            Protocols // of these, those that this node is to announce it over
	MayAnnounce    bool      // this node still reaches usable endpoints, and may announce
	Confirmed      Protocols // in force as far as known, here or elsewhere: the route is in the Adj-RIB-Out of an established session, a member holds the address
	Successor      bool      // the node that is elected on layer 2, another one, holds the address
	NoOther        bool      // the rules allow no other node to answer on layer 2
	Claimed        bool      // that node was heard to announce it, though gossip does not reach it
	Last           bool      // no other node announces the address over BGP; this one does though it drains
	Draining       bool      // this node drains, and leaves the route to others that were seen to announce it
	Drains         bool      // this node drains, unless it is forced to: it answers on layer 2 until another node does
	Left           bool      // other nodes are to announce the address over BGP, this one is not any more
	Taken          bool      // one of them was seen to announce the route
	Brief          bool      // it follows soon: this node does not serve the address well
	MembersUnknown bool      // it is not known which nodes are alive: this node must not answer on layer 2
}

// A Output is what a node does about one address.
type Output struct {
	Announce Protocols
	Quiet    bool      // on layer 2: answer questions, and send nothing else; another node is elected
	Last     bool      // on layer 2: likewise, and that node should have answered by now
	GivenUp  Protocols // withdrawn though no other node was seen to announce it
	Next     time.Time // step again then, should nothing change before; zero: no need
}

// A Switch is the memory of one address on one node from step to step. The zero
// value is that of an address that is not announced.
//
// It makes before it breaks. Each of its parts prolongs what the node announced, for
// a reason of its own; an address that is not wanted any more, or that the node can
// serve no longer, is withdrawn at once.
type Switch struct {
	announced Protocols
	change    protocolChange // other protocols are wanted
	answer    answerHandover // on layer 2 another node is elected
	route     routeHandover  // over BGP other nodes are to announce the route
	drain     drainFollow    // the node drains
}

// Step decides what to announce now. Time must not go backwards.
func (s Switch) Step(in Input, now time.Time, t Times) (Switch, Output) {
	held := s.announced
	out := Output{Announce: in.Own & in.Wanted}
	if in.MembersUnknown {
		held &^= ViaLayer2
		out.Announce &^= ViaLayer2
	}
	var next Switch
	var longer [4]Output
	next.change, longer[0] = s.change.step(in, held, now, t)
	next.answer, longer[1] = s.answer.step(in, held, now, t)
	next.route, longer[2] = s.route.step(in, held, now, t)
	next.drain, longer[3] = s.drain.step(in, held, now, t)
	for _, o := range longer {
		out = out.and(o)
	}
	next.announced = out.Announce
	return next, out
}

// Idle reports whether there is nothing to remember.
func (s Switch) Idle() bool { return s == Switch{} }

// and adds what else a node does about the same address.
func (o Output) and(p Output) Output {
	return Output{
		Announce: o.Announce | p.Announce,
		Quiet:    o.Quiet || p.Quiet,
		Last:     o.Last || p.Last,
		GivenUp:  o.GivenUp | p.GivenUp,
		Next:     wake.Earlier(o.Next, p.Next),
	}
}
