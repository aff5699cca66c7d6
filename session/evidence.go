// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"
	"time"

	"github.com/heraldlb/herald/diagnosis"
	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/kernel"
	"github.com/heraldlb/herald/status"
)

const (
	// evidenceAge is how long a look counts as evidence: longer than the 10 s between
	// two attempts of bgpd to connect.
	evidenceAge = 30 * time.Second

	// pingEvery is the time between two pings to a router that answers no SYN, until
	// it has answered one.
	pingEvery = 10 * time.Second
	// pingsAtOnce is how many pings one look may send. It waits for their answers.
	pingsAtOnce = 3
)

// An evidence collects what is seen of wanted sessions that are down.
type evidence struct {
	trails map[status.PeerID]*trail
	before kernel.Signatures // as of the last look
	looked bool              // there was one

	ping func(status.Peer) bool // reports whether a router answers; nil: no ping is sent
}

// A trail is what was seen of one session since it went down.
type trail struct {
	since      time.Time
	signatures kernel.Signatures // as of the last look at which the session was up
	marks      []mark            // of the last evidenceAge, oldest first
	pinged     time.Time         // when the last ping was sent
	alive      bool              // the router has answered a ping since it stopped answering SYNs
}

// A mark is one look at a session that is down.
type mark struct {
	at                       time.Time
	sent, received, notified int  // messages since the neighbor exists
	connecting               bool // a connection waits for an answer
	resent                   bool // its SYN was sent again
	known                    bool // the kernel has answered
}

// next takes in a look, and returns why wanted sessions are not up.
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
		if pings < pingsAtOnce && e.probe(at, e.trails[id], wanted[id], s) {
			pings++
		}
		ev := e.trails[id].evidence(at, f, wanted[id], s)
		ev.Suspects = e.suspects(id, wanted, s)
		out[id] = diagnosis.Of(ev)
	}
	return out
}

// probe sends a ping to a router that answers no SYN, and reports whether it did.
func (e *evidence) probe(at time.Time, t *trail, p status.Peer, s sight) bool {
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

// evidence sums up what is known of a session.
func (t *trail) evidence(at time.Time, f frr.Session, p status.Peer, s sight) diagnosis.Evidence {
	first, last := t.marks[0], t.marks[len(t.marks)-1]
	ev := diagnosis.Evidence{
		Peer: p, Session: sessionOf(f, at), LocalASN: f.LocalASN, Shutdown: f.Shutdown, Looked: at.Sub(t.since),
		Notification: f.Notification, Obstacle: f.Obstacle,
		// FRR counts from zero when a neighbor is configured again.
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

// suspects returns the names of other peers that may have sent the packets with
// wrong signatures, in order.
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
