// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/table"
	"github.com/heraldlb/herald/wake"
)

// An engine does the work of an Announcer. One goroutine owns it. The responders'
// goroutines see only their views of it.
type engine struct {
	a     *Announcer
	tasks *errgroup.Group // of Run

	in        input
	begun     time.Time    // of run
	own       map[MAC]bool // of this node
	stations  map[int]*station
	records   map[netip.Addr]*record
	contested map[netip.Addr]*record // those with contests
	timetable
	touched  map[netip.Addr]bool // whose records have news since the last report
	changed  bool                // there is something new to report, about any address
	news     bool                // likewise, about those touched
	claimed  bool                // likewise, about strangers alone
	reported time.Time           // when that was reported last
}

// A record is the state of one wanted address.
type record struct {
	want      Announcement
	count     *counters
	gained    time.Time
	defended  time.Time // when a claim was last countered
	repaired  time.Time // likewise, one that was not confirmed
	contests  map[contestant]*contest
	conflict  Claim
	claimants map[MAC]bool // the strangers of the conflict
	takenBy   Claim
	rival     Rival
	rivalOn   int               // the link on which its node's hardware address was seen
	presences map[int]*presence // by link
}

func newEngine(a *Announcer, tasks *errgroup.Group) *engine {
	return &engine{a: a, tasks: tasks, stations: map[int]*station{}, records: map[netip.Addr]*record{}, contested: map[netip.Addr]*record{}, touched: map[netip.Addr]bool{}}
}

// run is the loop: take the input, apply it, send what is due, and report.
func (e *engine) run(ctx context.Context) {
	defer e.close()
	e.begun = time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var retry time.Time // when to try again to open sockets; zero: never
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.a.wake:
		case <-timer.C:
		}
		now := time.Now()
		in := e.a.take()
		e.dropFailed(in.failures, now)
		if in.generation != e.in.generation || len(in.failures) > 0 || due(retry, now) {
			before := e.in
			e.in = in
			same := in.site == before.site && len(in.failures) == 0 && retry.IsZero()
			if !same || !e.amend(before.want, now) {
				retry = e.reconcile(now)
			}
		}
		e.judge(in.claims, now)
		next := wake.Earlier(wake.Earlier(e.send(now), retry), e.investigate(now))
		next = wake.Earlier(next, e.report(now))
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
	}
}

// touch takes note that there is something new to report about an address.
func (e *engine) touch(addr netip.Addr) {
	e.news = true
	e.touched[addr] = true
}

// due reports whether a time was set and has come.
func due(t, now time.Time) bool { return !t.IsZero() && !t.After(now) }

// reconcile brings sockets and presences in line with the input. It returns when to try
// again what failed, or zero.
func (e *engine) reconcile(now time.Time) (retry time.Time) {
	e.survey(now)
	e.reclassify(now)
	e.dropUnwanted()
	e.endContests()
	// Sockets are opened first, so that an address comes to all its interfaces at once.
	sites := e.sites()
	retry = e.openSockets(sites, now)
	for addr, w := range e.in.want.All() {
		e.place(*w, sites[protocolOf(addr)], now)
	}
	e.publishViews()
	return retry
}

// amend brings presences in line with what is wanted now and was not before, while all else
// stays. It reports whether the sockets are still those that are needed; else all has to be
// reconciled.
func (e *engine) amend(before Wanted, now time.Time) bool {
	sites := e.sites()
	for c := range table.Diff(before, e.in.want, table.Same) {
		if c.After == nil {
			e.drop(c.Key, e.records[c.Key])
			continue
		}
		w := **c.After
		for _, st := range sites[protocolOf(c.Key)] {
			if w.on(st.link.Name) && st.socket[protocolOf(c.Key)].responder == nil {
				return false
			}
		}
		e.place(w, sites[protocolOf(c.Key)], now)
	}
	e.endContests()
	for _, st := range e.stations {
		for i := range st.socket {
			if s := &st.socket[i]; s.responder != nil && len(s.roles) == 0 {
				return false
			}
		}
	}
	e.publishViews()
	return true
}

// dropUnwanted removes the records of addresses that are no longer wanted.
func (e *engine) dropUnwanted() {
	for addr, rec := range e.records {
		if _, wanted := e.in.want.Get(addr); !wanted {
			e.drop(addr, rec)
		}
	}
}

// drop removes the record of an address, if there is one.
func (e *engine) drop(addr netip.Addr, rec *record) {
	if rec == nil {
		return
	}
	for _, p := range rec.presences {
		e.leave(p)
	}
	delete(e.records, addr)
	delete(e.contested, addr)
	e.touch(addr)
}

// openSockets opens the sockets that wanted addresses need, and closes the others. It
// returns when to try again, or zero.
func (e *engine) openSockets(sites [protocols][]*station, now time.Time) (retry time.Time) {
	for _, w := range e.in.want.All() {
		for _, st := range sites[protocolOf(w.Addr)] {
			if w.on(st.link.Name) {
				st.socket[protocolOf(w.Addr)].needed = true
			}
		}
	}
	for _, st := range e.stations {
		for p := range st.socket {
			retry = wake.Earlier(retry, e.openOrClose(st, Protocol(p), now))
		}
	}
	return retry
}

// place brings the presences of one wanted address in line with it.
func (e *engine) place(w Announcement, sites []*station, now time.Time) {
	rec := e.records[w.Addr]
	if rec == nil {
		rec = &record{count: &counters{}, gained: now, presences: map[int]*presence{}}
		e.records[w.Addr] = rec
		e.touch(w.Addr)
	}
	if rec.want.passive() != w.passive() || !slices.Equal(rec.want.Standby, w.Standby) {
		rec.gained = now
		if !w.passive() {
			rec.takenBy = Claim{} // of the last handover
		}
		e.touch(w.Addr)
	}
	newRound := rec.want.Round != w.Round
	rec.want = w
	for _, p := range rec.presences {
		if !w.on(p.station.link.Name) {
			e.leave(p)
		} else if newRound {
			e.renew(p, now)
		}
	}
	for _, st := range sites {
		if !w.on(st.link.Name) || st.socket[protocolOf(w.Addr)].responder == nil {
			continue
		}
		if p := rec.presences[st.link.Index]; p != nil {
			e.adjust(p, now)
		} else {
			e.join(rec, st, now)
		}
	}
}

// survey brings the stations in line with the links.
func (e *engine) survey(now time.Time) {
	e.own = make(map[MAC]bool, len(e.in.links))
	present := make(map[int]bool, len(e.in.links))
	for _, l := range e.in.links {
		e.own[l.MAC] = true
		present[l.Index] = true
		st := e.stations[l.Index]
		if st == nil {
			st = &station{link: l}
			e.stations[l.Index] = st
			e.changed = true
		}
		e.update(st, l, now)
	}
	for index, st := range e.stations {
		if !present[index] {
			for p := range st.socket {
				e.shut(st, Protocol(p))
			}
			delete(e.stations, index)
			e.changed = true
		}
	}
}

// sites lists the stations that are suitable for each protocol.
func (e *engine) sites() [protocols][]*station {
	var out [protocols][]*station
	for _, st := range e.stations {
		for p := range st.socket {
			if st.socket[p].skip == Suitable {
				out[p] = append(out[p], st)
			}
		}
	}
	return out
}

// close closes all sockets, and reports it.
func (e *engine) close() {
	for _, st := range e.stations {
		for p := range st.socket {
			e.shut(st, Protocol(p))
		}
	}
	e.a.publish(e.makeReport(e.a.last()))
}
