// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// lossKept is how long after a node was lost another one that takes over counts as its
// successor.
const lossKept = time.Minute

// announcementWaits measure how long it takes until what a node is to announce is seen to be
// in force. What the first pass of an agent announces is not measured: its predecessor may
// have announced it already. The zero value is ready.
type announcementWaits struct {
	begun  bool
	last   announced
	routes map[netip.Prefix]time.Time // not sent yet: since when they are to be announced
	addrs  map[netip.Addr]takeover    // not answered for yet
}

// An announced is what a node announces: what it is to, and what it was seen to.
type announced struct {
	networks announce.Networks
	sent     SentRoutes
	answers  handover.Answers
	answered Answered
}

// A takeover is an address that the node is to answer for.
type takeover struct {
	since time.Time
	lost  time.Time // the last sign of life of the node that had it; zero: that was not lost
}

// next takes in a pass.
func (w *announcementWaits) next(now announced, m announce.Membership, at time.Time, took Took) {
	if w.routes == nil {
		w.routes, w.addrs = map[netip.Prefix]time.Time{}, map[netip.Addr]takeover{}
	}
	if w.begun {
		w.bgp(now, at, took)
		w.layer2(now, m, at, took)
	}
	w.begun, w.last = true, now
}

func (w *announcementWaits) bgp(now announced, at time.Time, took Took) {
	for c := range table.Diff(w.last.networks, now.networks, table.Same) {
		switch {
		case c.After == nil:
			delete(w.routes, c.Key)
		case c.Before == nil:
			if _, sent := now.sent.Get(c.Key); !sent {
				w.routes[c.Key] = at
			}
		}
	}
	for c := range table.Diff(w.last.sent, now.sent, slices.Equal) {
		if since, waits := w.routes[c.Key]; waits && c.After != nil {
			took(status.SpanConfirmBGP, c.Key.String(), at.Sub(since))
			delete(w.routes, c.Key)
		}
	}
}

func (w *announcementWaits) layer2(now announced, m announce.Membership, at time.Time, took Took) {
	owns := func(a **handover.Answer) bool { return a != nil && !(*a).Standby }
	for c := range table.Diff(w.last.answers, now.answers, table.Same) {
		switch {
		case !owns(c.After):
			delete(w.addrs, c.Key)
		case !owns(c.Before):
			if _, answered := now.answered.Get(c.Key); !answered {
				w.addrs[c.Key] = takeover{at, lostOwner(m, c.Key, at)}
			}
		}
	}
	for c := range table.Diff(w.last.answered, now.answered, slices.Equal) {
		t, waits := w.addrs[c.Key]
		if !waits || c.After == nil {
			continue
		}
		took(status.SpanConfirmLayer2, c.Key.String(), at.Sub(t.since))
		if !t.lost.IsZero() {
			took(status.SpanFailover, c.Key.String(), at.Sub(t.lost))
		}
		delete(w.addrs, c.Key)
	}
}

// lostOwner returns the last sign of life of the node that answered for an address until it
// was lost a moment ago; zero if there is none, or if another node answers for it.
func lostOwner(m announce.Membership, addr netip.Addr, at time.Time) (lost time.Time) {
	holds := func(o announce.Member) bool {
		_, has := slices.BinarySearchFunc(o.Held, addr, netip.Addr.Compare)
		return has
	}
	for _, o := range m.Departed {
		if at.Sub(o.Lost) < lossKept && o.Lost.After(lost) && holds(o) {
			lost = o.Lost
		}
	}
	if lost.IsZero() || slices.ContainsFunc(m.Members, holds) {
		return time.Time{}
	}
	return lost
}
