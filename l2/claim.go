// SPDX-License-Identifier: Apache-2.0

package l2

import "time"

const (
	// defendInterval separates two defences of an address: RFC 5227, Section 2.4.
	defendInterval = 10 * time.Second

	// takeover is how long claims of the previous owner may still arrive after an
	// address was taken over.
	takeover = 2 * time.Second

	// conflictAge is how long a conflict is reported after the last claim. During that
	// time every announcement comes with a probe for the stranger.
	conflictAge = 90 * time.Second

	// claimStep is the least time between two claims that change the report, so that a
	// flood of claims is not reported one by one.
	claimStep = time.Second

	// maxClaimants is how many hosts that claim an address are told apart.
	maxClaimants = 16
)

// judge decides how to treat the claims of other hosts.
func (e *engine) judge(claims map[linkClaim]time.Time, now time.Time) {
	for h, at := range claims {
		rec := e.records[h.addr]
		if rec == nil || e.own[h.mac] || h.mac == (MAC{}) {
			continue
		}
		p := rec.presences[h.link]
		if p == nil {
			continue
		}
		if h.asks && p.phase == Deferred {
			continue // a probe is no answer: another agent may send it
		}
		c := Claim{MAC: h.mac, Interface: p.station.link.Name, At: at}
		if h.forged {
			e.doubt(p, c, now)
			continue
		}
		rival := e.rivalOf(h, rec, now)
		switch {
		case e.in.lost[h.mac] && !h.asks:
			e.contend(p, h, c)
			if !h.answers {
				e.note(rec, c)
			}
		case e.in.friends[h.mac], p.phase == Quiet, p.phase == Standby:
			e.note(rec, c)
		case rival != "":
			e.yieldTo(p, Rival{Node: rival, At: at}, now)
		case !rec.want.Fresh && at.Sub(rec.gained) < takeover:
			// The previous owner does not know yet, or its packet was on the way.
		case !e.isStranger(p, now):
			// It may be a rival's other interface.
		default:
			if e.noteConflict(rec, c) {
				e.a.opts.Logger.Warn("another host has the address", "addr", h.addr, "iface", c.Interface, "mac", h.mac.String())
			}
			e.defend(p, now)
		}
	}
}

// doubt decides how to treat a claim whose frame came from another hardware address than
// it says. It proves nothing about the address that it names, so that nothing is left to
// that one. It may still mislead neighbors: an announced address is defended. It is a
// conflict, unless the named host is an agent's.
func (e *engine) doubt(p *presence, c Claim, now time.Time) {
	e.count(ClaimForged)
	if p.phase != Announced {
		return
	}
	if !e.in.friends[c.MAC] && e.in.nodes[c.MAC] == "" && e.noteConflict(p.record, c) {
		e.a.opts.Logger.Warn("a packet gives the address to a host that did not send it", "addr", p.addr(), "iface", c.Interface, "mac", c.MAC.String())
	}
	e.repair(p, now)
}

// note records who has taken over an address, unless that comes too soon after the last time.
func (e *engine) note(rec *record, c Claim) {
	if c.At.Sub(rec.takenBy.At) < claimStep {
		return
	}
	rec.takenBy = c
	e.touch(rec.want.Addr)
}

// noteConflict records a stranger's claim, and reports whether a conflict begins. The first
// stranger stays the one that is reported until the conflict is settled. Others are counted.
func (e *engine) noteConflict(rec *record, c Claim) (begins bool) {
	if rec.conflict == (Claim{}) {
		rec.conflict, rec.claimants = c, map[MAC]bool{c.MAC: true}
		e.claimed, e.touched[rec.want.Addr] = true, true
		return true
	}
	if len(rec.claimants) < maxClaimants && !rec.claimants[c.MAC] {
		rec.claimants[c.MAC] = true
		e.claimed, e.touched[rec.want.Addr] = true, true
	}
	if c.At.Sub(rec.conflict.At) >= claimStep {
		rec.conflict.At = c.At
		e.claimed, e.touched[rec.want.Addr] = true, true
	}
	return false
}

// report publishes the report if there is news. What strangers claim is published once
// in claimStep, whatever they send. It returns when to call it again, or zero.
func (e *engine) report(now time.Time) time.Time {
	urgent := e.changed || e.news
	if next := e.reported.Add(claimStep); !urgent && e.claimed && now.Before(next) {
		return next
	}
	if e.claimed {
		e.reported = now
	}
	if urgent || e.claimed {
		r := e.makeReport(e.a.last())
		e.changed, e.news, e.claimed = false, false, false
		e.a.publish(r)
	}
	return time.Time{}
}

// defend reacts to a stranger's claim. An address that is announced is announced again.
// One that is still being probed for, under Refuse, is left to the stranger.
func (e *engine) defend(p *presence, now time.Time) {
	switch p.phase {
	case Probing:
		e.enter(p, Refused, now)
	case Announced:
		if now.Sub(p.record.defended) >= defendInterval {
			p.record.defended = now
			e.announce(p)
		}
	case Quiet, Standby, Refused, Deferred:
	}
}

// endConflict ends a conflict: no other host answers for the address any more.
func (e *engine) endConflict(rec *record) {
	if rec.conflict == (Claim{}) {
		return
	}
	e.a.opts.Logger.Info("no other host has the address any more", "addr", rec.want.Addr, "mac", rec.conflict.MAC.String())
	rec.conflict, rec.claimants = Claim{}, nil
	e.touch(rec.want.Addr)
}
