// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/heraldlb/herald/wake"
)

const (
	// rounds is the number of announcements after an address has come to an interface,
	// roundInterval apart, the first at once. RFC 5227, Section 2.3 requires two. More are
	// sent because a switch port may not forward at first.
	rounds        = 6
	roundInterval = time.Second

	// refresh is the time between two announcements afterwards, plus or minus a fifth.
	// Switches forget a station after 300 s, so that a silent address is never flooded or
	// lost.
	refresh = 30 * time.Second

	// probes are sent probeInterval apart, with the same wait for an answer after the
	// last. RFC 5227, Section 2.1.1 has one to two seconds between them, which is too long
	// for a Service.
	probes        = 3
	probeInterval = 200 * time.Millisecond

	// If another load balancer may run on a node of the cluster, a fresh address is asked
	// for once and announced askInterval later. If there is an answer, it is asked for
	// again every deferInterval. After so many questions without an answer (silence) the
	// other load balancer has stopped.
	askInterval   = 150 * time.Millisecond
	deferInterval = 300 * time.Millisecond
	silence       = 3

	// awaitNodes is how long a fresh address waits for the first call of SetNodes.
	awaitNodes = 750 * time.Millisecond

	// sendRetry is the time to the next attempt at a first announcement that could not be
	// sent.
	sendRetry = 250 * time.Millisecond
)

// A presence is an address on a station.
type presence struct {
	record  *record
	station *station
	role    *role
	joined  bool // the solicited-node group of an IPv6 address

	phase     Phase
	since     time.Time
	confirmed bool
	sent      int       // rounds of announcements
	roundAt   time.Time // when the next is due
	probes    int       // still to be sent
	probeAt   time.Time // when the next is due
	strangers int       // answers of unknown hosts while it is deferred

	slot // in the timetable
}

func (p *presence) addr() netip.Addr { return p.record.want.Addr }

func (p *presence) socket() *socket { return &p.station.socket[protocolOf(p.addr())] }

// join brings an address to a station.
func (e *engine) join(rec *record, st *station, now time.Time) {
	p := &presence{record: rec, station: st}
	p.role = &role{count: rec.count}
	rec.presences[st.link.Index] = p
	s := p.socket()
	s.roles[p.addr()] = p.role
	s.stale = true
	e.joinGroup(p)
	switch {
	case rec.want.left(st.link.Name):
		e.enter(p, Standby, now)
	case rec.want.Quiet:
		e.enter(p, Quiet, now)
	case rec.want.Fresh && e.a.opts.Conflict == Refuse:
		e.enter(p, Probing, now)
	case rec.want.Fresh && e.mayDefer(now):
		e.enter(p, Deferred, now)
	default:
		e.enter(p, Announced, now)
	}
}

// joinGroup joins the group of solicitations for an IPv6 address. After a failure it is
// called again before each announcement.
func (e *engine) joinGroup(p *presence) {
	if p.joined || protocolOf(p.addr()) != NDP {
		return
	}
	s := p.socket()
	if err := s.responder.port.Join(solicitedNode(p.addr())); err != nil {
		e.fault(p.station, NDP, joining, fmt.Errorf("join group of %s: %w", p.addr(), err))
		return
	}
	p.joined = true
	e.fault(p.station, NDP, joining, nil)
}

// leave removes an address from its station.
func (e *engine) leave(p *presence) {
	s := p.socket()
	if p.joined {
		if err := s.responder.port.Leave(solicitedNode(p.addr())); err != nil {
			e.a.opts.Logger.Debug("group not left", "iface", p.station.link.Name, "addr", p.addr(), "err", err)
		}
	}
	delete(s.roles, p.addr())
	s.stale = true
	e.forget(p)
}

// forget is leave for a station with a socket that is being closed.
func (e *engine) forget(p *presence) {
	e.remove(p)
	delete(p.record.presences, p.station.link.Index)
	e.changed = true
}

// adjust brings a presence in line with its Announcement.
func (e *engine) adjust(p *presence, now time.Time) {
	want := p.record.want
	switch {
	case want.left(p.station.link.Name):
		if p.phase != Standby {
			e.enter(p, Standby, now)
		}
	case want.Quiet && (p.phase == Probing || p.phase == Deferred):
		e.enter(p, Refused, now) // it was never announced: there is nothing to hand over
	case want.Quiet:
		if p.phase == Announced || p.phase == Standby {
			e.enter(p, Quiet, now)
		}
	case p.phase == Quiet, p.phase == Standby, !p.phase.answers() && !want.Fresh:
		e.enter(p, Announced, now)
	}
}

// enter begins a phase.
func (e *engine) enter(p *presence, phase Phase, now time.Time) {
	p.phase, p.since = phase, now
	e.changed = true
	p.role.silent.Store(!phase.answers())
	p.role.standby.Store(phase == Standby)
	switch phase {
	case Announced:
		p.probes, p.probeAt = 0, now
		if p.record.want.Fresh && e.a.opts.Conflict == Warn {
			p.probes = probes
		}
		e.renew(p, now)
	case Quiet:
		e.remove(p)
	case Standby:
		p.confirmed = false
		e.remove(p)
	case Probing:
		p.probes, p.probeAt = probes, now
		e.put(p, now, true)
	case Refused:
		e.put(p, now.Add(jitter(refresh)), false)
	case Deferred:
		p.confirmed, p.strangers, p.probes = false, 0, 1
		e.put(p, now, true)
	}
}

// renew announces an address from the beginning.
func (e *engine) renew(p *presence, now time.Time) {
	if p.phase == Announced {
		p.sent, p.roundAt = 0, now
		e.put(p, now, true)
	}
}

// act does the next step for a presence, and puts it back into the timetable.
func (e *engine) act(p *presence, now time.Time) {
	switch p.phase {
	case Announced:
		e.keepAnnounced(p, now)
	case Probing:
		if p.probes > 0 {
			p.probes--
			e.write(p, p.probe())
			e.put(p, now.Add(probeInterval), true)
			return
		}
		e.endConflict(p.record)
		e.enter(p, Announced, now)
	case Refused:
		e.enter(p, Probing, now)
	case Deferred:
		e.keepAsking(p, now)
	case Quiet, Standby: // nothing is ever due
	}
}

// keepAsking asks for a deferred address, and announces it once no host answers.
func (e *engine) keepAsking(p *presence, now time.Time) {
	waits := !e.in.nodesKnown && now.Before(p.since.Add(awaitNodes))
	if p.probes == 0 && !waits {
		if !p.record.deferredElsewhere(p) {
			e.setRival(p.record, Rival{})
		}
		e.enter(p, Announced, now)
		return
	}
	p.probes = max(0, p.probes-1)
	e.write(p, p.question())
	interval := deferInterval
	if p.record.rival == (Rival{}) {
		interval = askInterval
	}
	e.put(p, now.Add(interval), p.record.rival == (Rival{}))
}

// keepAnnounced sends what is due for an announced address.
func (e *engine) keepAnnounced(p *presence, now time.Time) {
	if p.probes > 0 && p.sent > 0 && due(p.probeAt, now) {
		p.probes--
		p.probeAt = now.Add(probeInterval)
		e.write(p, p.probe())
	}
	if due(p.roundAt, now) {
		if c := p.record.conflict; c != (Claim{}) && now.Sub(c.At) > conflictAge {
			e.endConflict(p.record)
		} else if c != (Claim{}) {
			e.write(p, p.probe()) // to find out whether the stranger is still there
		}
		if r := p.record.rival; r != (Rival{}) && now.Sub(r.At) > rivalAge {
			e.setRival(p.record, Rival{})
		} else if r != (Rival{}) {
			e.write(p, p.question())
		}
		e.joinGroup(p)
		ok := e.announce(p)
		switch {
		case !ok && p.sent == 0:
			p.roundAt = now.Add(sendRetry)
			e.put(p, p.roundAt, false)
			return
		case p.sent+1 < rounds:
			p.sent++
			p.roundAt = now.Add(roundInterval)
		default:
			p.sent = rounds
			p.roundAt = now.Add(jitter(refresh))
		}
		if ok && !p.confirmed {
			p.confirmed = true
			e.changed = true
		}
	}
	next := p.roundAt
	if p.probes > 0 {
		next = wake.Earlier(p.probeAt, next)
	}
	e.put(p, next, false)
}

// announce sends one round of announcements and reports whether all were sent.
func (e *engine) announce(p *presence) bool {
	if e.a.opts.Mute() {
		return false
	}
	l := p.station.link
	frames := [][]byte(nil)
	if protocolOf(p.addr()) == ARP {
		frames = arpAnnouncements(l.MAC, p.addr())
	} else {
		frames = [][]byte{ndpAnnouncement(l.MAC, l.LinkLocal, p.addr())}
	}
	ok := true
	for _, f := range frames {
		if e.write(p, f) {
			p.record.count.gratuitous.Add(1)
		} else {
			ok = false
		}
	}
	return ok
}

// probe returns the frame that asks who has the address of a presence.
func (p *presence) probe() []byte {
	if protocolOf(p.addr()) == ARP {
		return arpProbe(p.station.link.MAC, p.addr())
	}
	return ndpProbe(p.station.link.MAC, p.addr())
}

// question returns the frame that asks who has the address, in a form that other
// load balancers answer. MetalLB does not answer duplicate address detection.
func (p *presence) question() []byte {
	if protocolOf(p.addr()) == ARP {
		return arpProbe(p.station.link.MAC, p.addr())
	}
	return ndpQuestion(p.station.link.MAC, p.station.link.LinkLocal, p.addr())
}

// write sends a frame and reports whether that worked.
func (e *engine) write(p *presence, frame []byte) bool {
	if _, err := p.socket().responder.port.Write(frame); err != nil {
		e.fault(p.station, protocolOf(p.addr()), sending, fmt.Errorf("send: %w", err))
		return false
	}
	e.fault(p.station, protocolOf(p.addr()), sending, nil)
	return true
}

// jitter returns d, plus or minus a fifth, so that addresses spread out.
func jitter(d time.Duration) time.Duration {
	return d*4/5 + rand.N(d*2/5)
}
