// SPDX-License-Identifier: Apache-2.0

package session

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

// Reasons of events about a Node.
const (
	eventUp      = "BGPSessionUp"
	eventDown    = "BGPSessionDown"  // warning, unless the session was removed from the configuration
	eventFail    = "BGPSessionNotUp" // warning: it does not come up
	eventBFDDown = "BFDSessionDown"  // warning
)

const (
	// failAfter is how long a session may take to come up before an event reports
	// it: bgpd connects to a peer every 10 s, unless its connectTime says otherwise.
	failAfter = 20 * time.Second
	// failReasons is how many reasons are reported while a session does not come up.
	failReasons = 3
	// clockStep is how much the start of a session may move between two looks: FRR
	// reports its age, in whole seconds.
	clockStep = 3 * time.Second
)

// A look is what FRR says of all sessions at one moment.
type look struct {
	at       time.Time
	answered bool // false: FRR is not there
	sessions map[status.PeerID]status.Session
}

// A history compares each look with the one before, and makes events of the
// differences. What was so before the agent started is no event.
type history struct {
	took    func(peer string, d time.Duration) // how long a session was down that is up again
	started time.Time
	looked  bool // FRR has answered a look
	peers   map[status.PeerID]*record
}

// A record is what is remembered of a peer. Its session is down (in an outage), up,
// or up without the BFD session that is to guard it (unguarded).
type record struct {
	name      string         // in the configuration that had it last
	session   status.Session // as of the last look
	looked    time.Time      // then
	outage    outage         // zero while the session is up
	unguarded unguarded      // zero while the session is down, or BFD is up
	events    budget
	held      int // events that the budget did not allow
}

// An outage is a time in which a session is down.
type outage struct {
	since    time.Time
	reported []string // the reasons that events gave for it
}

// An unguarded is a time in which a session is up, and its BFD session is not.
type unguarded struct {
	since    time.Time
	reported bool
}

func newHistory(started time.Time) *history {
	return &history{took: func(string, time.Duration) {}, started: started, peers: make(map[status.PeerID]*record)}
}

// next returns the events of a look, and all changes: no budget limits these. Wanted are the
// peers in the configuration.
func (h *history) next(l look, wanted map[status.PeerID]status.Peer) (events []cluster.Event, changes []status.Change) {
	if !h.looked && !l.answered {
		return nil, nil
	}
	ids := make([]status.PeerID, 0, len(l.sessions))
	for id := range l.sessions {
		ids = append(ids, id)
		if h.peers[id] == nil {
			h.peers[id] = &record{outage: outage{since: l.at}, events: newBudget(l.at)}
		}
	}
	for id := range h.peers {
		if _, there := l.sessions[id]; !there {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, status.PeerID.Compare)
	for _, id := range ids {
		r := h.peers[id]
		peer, isWanted := wanted[id]
		if isWanted {
			r.name = peer.Name
		}
		now, there := l.sessions[id]
		s := sighting{now, l.at, l.answered, there, isWanted, !h.looked, now.Since.Before(h.started)}
		was := r.session
		if down, ok := r.outageEnds(s); ok {
			h.took(r.label(id), down)
		}
		c := r.next(s)
		if c != (change{}) {
			changes = append(changes, c.entry(s.at, r.label(id), was, s))
		}
		events = append(events, r.limit(s, r.label(id), c)...)
		if !there && !isWanted && l.answered {
			delete(h.peers, id)
		}
	}
	h.looked = true
	return events, changes
}

// A sighting is one session in a look.
type sighting struct {
	status.Session
	at       time.Time
	answered bool // FRR is there
	there    bool // FRR has the session
	wanted   bool // the configuration has it
	first    bool // FRR answered no look before
	old      bool // the session is older than the agent
}

// A change is an event before its peer is named. The zero value is none.
type change struct {
	reason  string
	warning bool
	text    string // follows "BGP session with NAME "
	cause   string
	lasted  time.Duration // how long it was as before; 0: not known
}

// entry returns the change for a journal.
func (c change) entry(at time.Time, name string, was status.Session, is sighting) status.Change {
	out := status.Change{At: at.Round(0), Kind: status.ChangeSession, Subject: name, Before: string(was.State), After: string(is.State), Cause: c.cause, Lasted: status.SecondsOf(c.lasted)}
	switch {
	case c.reason == eventBFDDown:
		out.Kind, out.Before, out.After = status.ChangeBFD, was.BFD, is.BFD
	case was.Up() && is.Up():
		out.After = "down, and up again"
	case c.reason == eventDown && !was.Up() && !is.Up():
		out.After = "up for a moment, and down"
	}
	return out
}

// A transition is how a session got from one look to the next.
type transition int

const (
	staysDown transition = iota
	staysUp
	comesUp
	goesDown
	restarts // it is up at both looks, and was down in between
	flickers // it is down at both looks, and was up in between
)

// transitionOf returns the transition between two looks.
func transitionOf(was, now status.Session) transition {
	dropped := now.Dropped > was.Dropped
	switch {
	case was.Up() && now.Up() && (dropped || now.Since.Sub(was.Since) > clockStep):
		return restarts
	case was.Up() && now.Up():
		return staysUp
	case now.Up():
		return comesUp
	case was.Up():
		return goesDown
	case was.State != "" && dropped:
		return flickers
	}
	return staysDown
}

// next takes in a sighting, and returns what has changed.
func (r *record) next(s sighting) change {
	was := r.session
	r.session, r.looked = s.Session, s.at
	switch transitionOf(was, s.Session) {
	case comesUp:
		return r.comesUp(s)
	case staysUp:
		return r.staysUp(was, s)
	case restarts:
		r.unguarded = unguarded{}
		why := cmp.Or(s.LastError, "FRR has restarted")
		return change{eventDown, true, fmt.Sprintf("was down and is up again, after %s: %s", age(s.Since.Sub(was.Since)), why), why, s.Since.Sub(was.Since)}
	case goesDown:
		r.unguarded, r.outage = unguarded{}, outage{since: s.at}
		return change{eventDown, s.there || s.wanted || !s.answered,
			fmt.Sprintf("is down after %s: %s", age(s.at.Sub(was.Since)), s.end()), s.end(), s.at.Sub(was.Since)}
	case flickers:
		why := cmp.Or(s.LastError, string(s.State))
		return change{eventDown, true, "was up for a moment, and is down: " + why, why, 0}
	}
	return r.staysDown(s)
}

// outageEnds reports whether a session that was down is up again, and how long it was down:
// as long as it may have been, if it was between two looks.
func (r *record) outageEnds(s sighting) (down time.Duration, ends bool) {
	began := r.outage.since
	switch transitionOf(r.session, s.Session) {
	case comesUp:
		ends = !s.first
	case restarts:
		began, ends = r.looked, true
	}
	return max(s.Since.Sub(began), 0), ends
}

// comesUp ends the outage.
func (r *record) comesUp(s sighting) change {
	took := s.Since.Sub(r.outage.since)
	r.outage = outage{}
	switch {
	case s.first && s.old:
		return change{}
	case s.first || took < time.Second:
		return change{eventUp, false, "is up", "", 0}
	}
	return change{eventUp, false, "is up after " + age(took), "", took}
}

// staysUp reports a BFD session that is down while BGP is up. Either BGP does not
// know it yet, or it goes on without BFD, or it has come up without it.
func (r *record) staysUp(was status.Session, s sighting) change {
	diagnostic := cmp.Or(s.BFDDiagnostic, "no reason given")
	switch {
	case s.BFD == "" || s.BFD == "up":
		r.unguarded = unguarded{}
	case was.BFD == "up":
		r.unguarded = unguarded{s.at, true}
		return change{eventBFDDown, true, fmt.Sprintf("is up, and its BFD session is %s: %s", s.BFD, diagnostic), diagnostic, 0}
	case r.unguarded.since.IsZero():
		r.unguarded.since = s.at
	case !r.unguarded.reported && s.at.Sub(r.unguarded.since) >= failAfter:
		r.unguarded.reported = true
		const cure = "enable BFD for this neighbor on the router, with single or multiple hops as here"
		return change{eventBFDDown, true, fmt.Sprintf("is up, and its BFD session is %s after %s: %s", s.BFD, age(s.at.Sub(r.unguarded.since)), cure), cure, 0}
	}
	return change{}
}

// staysDown reports each new reason for a long outage, a few at most.
func (r *record) staysDown(s sighting) change {
	down := s.at.Sub(r.outage.since)
	if !s.there || down < failAfter || len(r.outage.reported) >= failReasons {
		return change{}
	}
	why := s.why()
	reason := cmp.Or(string(s.Fault), why)
	if slices.Contains(r.outage.reported, reason) {
		return change{}
	}
	r.outage.reported = append(r.outage.reported, reason)
	return change{eventFail, true, fmt.Sprintf("is not up after %s: %s", age(down), why), why, 0}
}

// why returns the best explanation of a session that is down.
func (s sighting) why() string { return cmp.Or(s.Diagnosis, s.LastError, string(s.State)) }

// end returns why a session has just gone down.
func (s sighting) end() string {
	switch {
	case !s.answered:
		return "FRR does not answer"
	case !s.there && s.wanted:
		return "FRR has restarted"
	case !s.there:
		return "it is not configured any more"
	}
	return cmp.Or(s.LastError, string(s.State))
}

// limit makes an event of a change, as far as the budget allows. When it allows
// one again after changes that were held back, that one says how the session is.
func (r *record) limit(s sighting, name string, c change) []cluster.Event {
	if c == (change{}) && r.held == 0 {
		return nil
	}
	if !r.events.take(s.at) {
		if c != (change{}) {
			r.held++
		}
		return nil
	}
	if c == (change{}) {
		c = change{eventDown, true, "is down: " + cmp.Or(s.why(), "FRR does not have it"), "", 0}
		if s.Up() {
			c = change{eventUp, false, "is up", "", 0}
		}
	}
	if r.held > 0 {
		c.text += fmt.Sprintf(" (it has changed %d times since the last event)", r.held)
		r.held = 0
	}
	return []cluster.Event{{Warning: c.warning, Reason: c.reason, Message: "BGP session with " + name + " " + c.text}}
}

// label returns what people call a peer.
func (r *record) label(id status.PeerID) string {
	if r.name == "" {
		return id.String()
	}
	return fmt.Sprintf("%s (%s)", r.name, id)
}

// age formats a time that has passed.
func age(d time.Duration) string { return max(d, 0).Round(time.Second).String() }
