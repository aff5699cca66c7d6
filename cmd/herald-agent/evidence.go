// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/diagnosis"
	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/kernel"
	"github.com/heraldlb/herald/status"
)

// evidenceAge is how old a look may be that says why a session is not up: longer
// than the 10 s between two calls of a router.
const evidenceAge = 30 * time.Second

const (
	// pingWait is how long a router may take to answer a ping, and pingEvery how often
	// one is sent to a router that answers no SYN, until it has answered one.
	pingWait  = 500 * time.Millisecond
	pingEvery = 10 * time.Second
	// pingsAtOnce is how many pings there may be in one look, which waits for them.
	pingsAtOnce = 3
)

// A sight is what the kernel says at one moment of connections that do not come
// about.
type sight struct {
	signatures kernel.Signatures
	sockets    bool // the rest is known
	connecting []kernel.Connection
	silent     map[netip.Addr]bool
}

// see asks the kernel. Connections are of interest only while a session is down.
func see(down bool) sight {
	var s sight
	s.signatures, _ = kernel.ReadSignatures() // without, nothing is said of passwords
	if !down {
		return s
	}
	connecting, err := kernel.ReadConnecting()
	if err != nil {
		return s // as where a policy forbids it: a diagnosis does without
	}
	s.sockets, s.connecting = true, connecting
	s.silent, _ = kernel.ReadSilent()
	return s
}

// ping reports whether a router answers. Where that cannot be asked it does not.
func ping(p status.Peer) bool {
	alive, err := kernel.Ping(context.Background(), p.Address, p.VRF, pingWait)
	return err == nil && alive
}

// connectionTo returns the connection that waits for a peer's answer.
func (s sight) connectionTo(p status.Peer) (kernel.Connection, bool) {
	port := p.Port
	if port == 0 {
		port = 179
	}
	i := slices.IndexFunc(s.connecting, func(c kernel.Connection) bool {
		switch {
		case c.Remote.Port() != port:
			return false
		case p.Address.IsValid():
			return c.Remote.Addr() == p.Address.WithZone("")
		}
		return c.Remote.Addr().IsLinkLocalUnicast() && c.Interface != 0 && kernel.InterfaceName(c.Interface) == p.Interface
	})
	if i < 0 {
		return kernel.Connection{}, false
	}
	return s.connecting[i], true
}

// evidence is kept of the sessions that are wanted and not up.
type evidence struct {
	trails map[status.PeerID]*trail
	before kernel.Signatures // as of the last look
	looked bool              // there was one

	ping func(status.Peer) bool // reports whether a router answers; nil: nobody asks
}

// A trail is what was seen of one session since it is down.
type trail struct {
	since      time.Time
	signatures kernel.Signatures // as of the last look at which it was up
	marks      []mark            // of the last evidenceAge, oldest first
	pinged     time.Time         // when a ping was sent last
	alive      bool              // one was answered since the session is down and the router answers no SYN
}

// A mark is one look at a session that is down.
type mark struct {
	at                        time.Time
	sent, received, notified  int // messages since the neighbor exists
	connecting, resent, known bool
}

// next takes in a look, and returns why those sessions are not up that are wanted.
func (e *evidence) next(at time.Time, all []frr.Session, wanted map[status.PeerID]status.Peer, s sight) map[status.PeerID]diagnosis.Diagnosis {
	if !e.looked {
		e.before, e.looked = s.signatures, true
	}
	down := map[status.PeerID]frr.Session{}
	for _, f := range all {
		if _, ok := wanted[f.Peer]; ok && !f.Up {
			down[f.Peer] = f
		}
	}
	for id := range e.trails {
		if _, ok := down[id]; !ok {
			delete(e.trails, id)
		}
	}
	for id, f := range down {
		if e.trails == nil {
			e.trails = map[status.PeerID]*trail{}
		}
		t := e.trails[id]
		if t == nil {
			t = &trail{since: at, signatures: e.before}
			e.trails[id] = t
		}
		c, connecting := s.connectionTo(wanted[id])
		t.marks = append(slices.DeleteFunc(t.marks, func(m mark) bool { return at.Sub(m.at) > evidenceAge }), mark{
			at: at, sent: f.OpensSent, received: f.OpensReceived, notified: f.Notifications,
			connecting: connecting, resent: connecting && c.Resent > 0, known: s.sockets,
		})
	}
	e.before = s.signatures
	out := make(map[status.PeerID]diagnosis.Diagnosis, len(down))
	pings := 0
	for id, f := range down {
		if pings < pingsAtOnce && e.look(at, e.trails[id], wanted[id], s) {
			pings++
		}
		ev := e.trails[id].evidence(at, f, wanted[id], s)
		ev.Suspects = e.suspects(id, wanted, s)
		out[id] = diagnosis.Of(ev)
	}
	return out
}

// look sends a ping to a router that answers no SYN, and reports whether it did.
func (e *evidence) look(at time.Time, t *trail, p status.Peer, s sight) bool {
	resent := slices.ContainsFunc(t.marks, func(m mark) bool { return m.resent })
	if !resent {
		t.alive = false // it answers, or refuses
	}
	if e.ping == nil || !resent || t.alive || at.Sub(t.pinged) < pingEvery || !p.Address.IsValid() || s.silent[p.Address] {
		return false
	}
	t.pinged, t.alive = at, e.ping(p)
	return true
}

// evidence puts together what is known of a session.
func (t *trail) evidence(at time.Time, f frr.Session, p status.Peer, s sight) diagnosis.Evidence {
	first, last := t.marks[0], t.marks[len(t.marks)-1]
	ev := diagnosis.Evidence{
		Peer: p, Session: sessionOf(f, at), LocalASN: f.LocalASN, Shutdown: f.Shutdown, Looked: at.Sub(t.since),
		Notification: f.Notification, Obstacle: f.Obstacle,
		// A neighbor that FRR has again counts from nothing.
		OpensSent: max(last.sent-first.sent, 0), OpensReceived: max(last.received-first.received, 0),
		Notifications: max(last.notified-first.notified, 0),
		Sockets:       true, Silent: s.silent[p.Address], Alive: t.alive,
		Signatures: diagnosis.Signatures{
			Missing:    s.signatures.Missing - t.signatures.Missing,
			Wrong:      s.signatures.Wrong - t.signatures.Wrong,
			Unexpected: s.signatures.Unexpected - t.signatures.Unexpected,
		},
	}
	for _, m := range t.marks {
		ev.Sockets = ev.Sockets && m.known
		ev.Connecting = ev.Connecting || m.connecting
		ev.Unanswered = ev.Unanswered || m.resent
	}
	return ev
}

// suspects returns the names of other peers that packets with such signatures may
// be from as well, in order.
func (e *evidence) suspects(id status.PeerID, wanted map[status.PeerID]status.Peer, s sight) []string {
	var names []string
	for other := range e.trails {
		p := wanted[other]
		if other != id && p.Authenticated == wanted[id].Authenticated && !s.silent[p.Address] {
			names = append(names, p.Name)
		}
	}
	slices.Sort(names)
	return names
}
