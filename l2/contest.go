// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"cmp"
	"slices"
	"time"

	"github.com/heraldlb/herald/wake"
)

const (
	// A host that has the hardware address of a lost agent is asked contestAsks times,
	// contestInterval apart, whether it has the address. It has to answer contestAnswers
	// times: a single answer may be a packet that was on the way.
	contestAsks     = 3
	contestAnswers  = 2
	contestInterval = 250 * time.Millisecond

	// contestRefresh is the time from an answer to the next question. When it does not
	// answer any more, it is asked contestAsks times, contestHurry apart.
	contestRefresh = 5 * time.Second
	contestHurry   = time.Second

	// contestRest is how long claims are not looked into after one that was not confirmed.
	contestRest = 2 * time.Second

	// repairInterval separates two announcements after claims that were not confirmed.
	repairInterval = time.Second
)

// A contest is the claim of a host with the hardware address of a lost agent, and whether
// that host answers when it is asked. Everybody on the network knows hardware addresses,
// so that the claim alone proves nothing.
type contest struct {
	presence *presence
	claim    Claim
	answers  int  // up to contestAnswers
	pending  bool // a question was not answered yet
	missed   int  // questions in a row that were not
	over     bool // the host did not answer: it rests
	at       time.Time
}

// A contestant is a hardware address on a link.
type contestant struct {
	link int
	mac  MAC
}

// confirmed reports whether the host answers for the address.
func (c *contest) confirmed() bool { return c.answers == contestAnswers }

// contend takes in the claim of a host with the hardware address of a lost agent.
func (e *engine) contend(p *presence, h linkClaim, heard Claim) {
	rec := p.record
	c := rec.contests[contestant{h.link, h.mac}]
	switch {
	case h.answers && (c == nil || !c.pending):
		// Nobody has asked.
	case h.answers:
		c.pending, c.missed = false, 0
		if !c.confirmed() {
			c.answers++
			if c.confirmed() {
				e.changed = true
				e.count(ClaimConfirmed)
				e.a.opts.Logger.Info("an agent that gossip has lost answers for the address", "addr", rec.want.Addr, "iface", heard.Interface, "mac", h.mac.String())
			}
		}
		if c.confirmed() {
			c.at = heard.At.Add(contestRefresh)
		}
	case c == nil:
		if rec.contests == nil {
			rec.contests = map[contestant]*contest{}
		}
		rec.contests[contestant{h.link, h.mac}] = &contest{presence: p, claim: heard, at: heard.At}
		e.contested[rec.want.Addr] = rec
	case heard.At.Sub(c.claim.At) >= claimStep:
		c.claim = heard
		e.changed = e.changed || c.confirmed()
	}
}

// endContests ends the contests with hosts that are no longer those of lost agents: gossip
// reaches them again, and says later whether they are lost once more.
func (e *engine) endContests() {
	for addr, rec := range e.contested {
		for who, c := range rec.contests {
			if !e.in.lost[who.mac] {
				e.changed = e.changed || c.confirmed()
				delete(rec.contests, who)
			}
		}
		if len(rec.contests) == 0 {
			delete(e.contested, addr)
		}
	}
}

// investigate asks the claimants that are due, and ends the claims of those that do not
// answer. It returns when to do so again, or zero.
func (e *engine) investigate(now time.Time) (next time.Time) {
	for addr, rec := range e.contested {
		for who, c := range rec.contests {
			if due(c.at, now) && !e.inquire(rec, who, c, now) {
				delete(rec.contests, who)
				continue
			}
			next = wake.Earlier(next, c.at)
		}
		if len(rec.contests) == 0 {
			delete(e.contested, addr)
		}
	}
	return next
}

// inquire does the next step of a contest, and reports whether the contest goes on.
func (e *engine) inquire(rec *record, who contestant, c *contest, now time.Time) bool {
	p := rec.presences[who.link]
	if c.over || p != c.presence {
		e.changed = e.changed || c.confirmed()
		return false
	}
	if c.pending {
		c.missed++
	}
	if c.missed == contestAsks {
		e.a.opts.Logger.Debug("the host that claims the address does not answer for it", "addr", rec.want.Addr, "iface", c.claim.Interface, "mac", who.mac.String())
		if c.confirmed() {
			e.changed = true
		} else {
			e.count(ClaimUnanswered)
			e.repair(p, now)
		}
		c.answers, c.pending, c.over, c.at = 0, false, true, now.Add(contestRest)
		return true
	}
	c.pending = !e.a.opts.Mute() && e.write(p, p.questionTo(who.mac))
	c.at = now.Add(contestInterval)
	if c.confirmed() {
		c.at = now.Add(contestHurry) // unless it answers
	}
	return true
}

// repair announces an address again whose neighbors may have believed a false claim. The
// claimant does not answer, so that nobody fights back.
func (e *engine) repair(p *presence, now time.Time) {
	if p.phase == Announced && now.Sub(p.record.repaired) >= repairInterval {
		p.record.repaired = now
		e.announce(p)
	}
}

// questionTo returns the frame that asks one host whether it has the address.
func (p *presence) questionTo(mac MAC) []byte {
	l := p.station.link
	if protocolOf(p.addr()) == ARP {
		return arpQuestion(mac, l.MAC, p.addr())
	}
	return ndpQuestionTo(mac, l.MAC, l.LinkLocal, p.addr())
}

// contenders lists the confirmed claims, in the order of hardware addresses.
func (rec *record) contenders() (out []Claim) {
	for _, c := range rec.contests {
		if c.confirmed() {
			out = append(out, c.claim)
		}
	}
	slices.SortFunc(out, func(a, b Claim) int {
		return cmp.Or(slices.Compare(a.MAC[:], b.MAC[:]), cmp.Compare(a.Interface, b.Interface))
	})
	return out
}

// A ClaimResult is what came of the claim of a host that has the hardware address of an
// agent.
type ClaimResult int

// The results.
const (
	ClaimConfirmed  ClaimResult = iota // the host of a lost agent answers for the address
	ClaimUnanswered                    // it does not
	ClaimForged                        // the frame came from another hardware address than it says
	claimResults
)

var claimResultNames = [claimResults]string{ClaimConfirmed: "confirmed", ClaimUnanswered: "unanswered", ClaimForged: "forged"}

// String returns the word of the metric.
func (r ClaimResult) String() string { return claimResultNames[r] }

// count counts a claim.
func (e *engine) count(r ClaimResult) { e.a.claims[r].Add(1) }
