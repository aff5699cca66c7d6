// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"time"

	"github.com/heraldlb/herald/wake"
)

// A protocolChange remembers that other protocols are wanted for an address. The new
// ones are announced at once. An old one stays until all new ones have been confirmed
// for Times.Hold, but not longer than Times.Limit after the change.
type protocolChange struct {
	old       Protocols // announced, and wanted no more
	since     time.Time // old is
	confirmed time.Time // since when the new ones are confirmed; zero: they are not
}

func (c protocolChange) step(in Input, held Protocols, now time.Time, t Times) (protocolChange, Output) {
	old := held &^ in.Wanted
	if old == 0 || in.Wanted == 0 || !in.MayAnnounce {
		return protocolChange{}, Output{}
	}
	if old != c.old {
		c = protocolChange{old: old, since: now}
	}
	c.confirmed = sinceWhen(c.confirmed, in.Confirmed.Has(in.Wanted), now)
	until := c.since.Add(t.Limit)
	if !c.confirmed.IsZero() {
		until = wake.Earlier(until, c.confirmed.Add(t.Hold))
	}
	switch {
	case now.Before(until):
		return c, Output{Announce: old, Next: until}
	case c.confirmed.IsZero():
		return protocolChange{}, Output{GivenUp: old}
	}
	return protocolChange{}, Output{}
}

// An answerHandover remembers that another node is elected to answer for an address.
// This one answers too, without announcing that it does, until the other one holds the
// address. It does so for Times.Limit at most, or as long as it takes if this node
// drains; for Times.Handover if nobody else may answer, or the other one was heard to.
type answerHandover struct {
	since time.Time // another node is elected; zero: none is, or this one never answered
}

func (h answerHandover) step(in Input, held Protocols, now time.Time, t Times) (answerHandover, Output) {
	elsewhere := in.Wanted.Has(ViaLayer2) && !in.Own.Has(ViaLayer2)
	if !held.Has(ViaLayer2) || !elsewhere || in.Successor {
		return answerHandover{}, Output{}
	}
	h.since = sinceWhen(h.since, true, now)
	late, until := h.since.Add(t.Handover), h.since.Add(t.Limit)
	if in.Claimed || in.NoOther {
		until = late
	}
	out := Output{Announce: ViaLayer2, Quiet: true}
	switch {
	case in.Drains && !in.Claimed: // without end
		if out.Last = !now.Before(late); !out.Last {
			out.Next = late
		}
	case now.Before(until):
		out.Next = until
	case in.Claimed || in.NoOther:
		return answerHandover{}, Output{}
	default:
		return answerHandover{}, Output{GivenUp: ViaLayer2}
	}
	return h, out
}

// A routeHandover remembers that other nodes are to announce a route. This one does too
// until one of them has been seen to for Times.Follow, or Times.Brief, and for Times.Leave at
// most.
type routeHandover struct {
	since time.Time // others are to; zero: they are not, or this one never did
	taken time.Time // since when one of them does; zero: none does
}

func (h routeHandover) step(in Input, held Protocols, now time.Time, t Times) (routeHandover, Output) {
	elsewhere := in.Wanted.Has(ViaBGP) && !in.Own.Has(ViaBGP)
	if !held.Has(ViaBGP) || !elsewhere || !in.Left {
		return routeHandover{}, Output{}
	}
	h.since = sinceWhen(h.since, true, now)
	h.taken = sinceWhen(h.taken, in.Taken, now)
	until := h.since.Add(t.Leave)
	if !h.taken.IsZero() {
		follow := t.Follow
		if in.Brief {
			follow = t.Brief
		}
		until = wake.Earlier(until, h.taken.Add(follow))
	}
	switch {
	case now.Before(until):
		return h, Output{Announce: ViaBGP, Next: until}
	case h.taken.IsZero():
		return routeHandover{}, Output{GivenUp: ViaBGP}
	}
	return routeHandover{}, Output{}
}

// A drainFollow remembers that a node that drains was the last to announce a route, and
// since when it is not. The route stays for Times.Drain after that: routers need time to
// follow the nodes that announce it now.
type drainFollow struct {
	last    bool      // no other node announced the route
	another time.Time // since when one does; zero: not since a moment ago
}

func (f drainFollow) step(in Input, held Protocols, now time.Time, t Times) (drainFollow, Output) {
	if f.last && !in.Last {
		f.another = now
	}
	f.last = in.Last
	until := f.another.Add(t.Drain)
	if f.another.IsZero() || !now.Before(until) {
		f.another = time.Time{}
		return f, Output{}
	}
	if !held.Has(ViaBGP) || !in.Draining {
		return f, Output{}
	}
	return f, Output{Announce: ViaBGP, Next: until}
}

// sinceWhen returns since when something is the case: since before, or since now. Zero:
// it is not.
func sinceWhen(before time.Time, is bool, now time.Time) time.Time {
	switch {
	case !is:
		return time.Time{}
	case before.IsZero():
		return now
	}
	return before
}
