// SPDX-License-Identifier: Apache-2.0

package main

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
	eventSessionUp   = "BGPSessionUp"
	eventSessionDown = "BGPSessionDown"  // warning, unless the session is wanted no more
	eventSessionFail = "BGPSessionNotUp" // warning: it does not come up
	eventBFDDown     = "BFDSessionDown"  // warning
)

const (
	// failAfter is how long a session may take to come up before that is told: a
	// peer is called every 10 s, unless its connectTime says otherwise.
	failAfter = 20 * time.Second
	// failReasons is how many reasons are told while a session does not come up.
	failReasons = 3
	// changesAtOnce is how many events about one peer may follow each other, and
	// changeEvery how often there may be another one after those: a session that
	// goes up and down all the time says so, but not each time.
	// The same bounds what a ConfigurationState says of it.
	changesAtOnce = 6
	changeEvery   = 2 * time.Minute
	// clockStep is how much the moment at which FRR says that a session has come up
	// may move: the answer has its age in it.
	clockStep = 3 * time.Second
)

// A look is what FRR says of all sessions at one moment.
type look struct {
	at       time.Time
	answered bool // false: FRR is not there
	sessions map[status.PeerID]status.Session
}

// A history compares one look with the next, and tells of what has changed in
// between. What was so before the agent started is no news.
type history struct {
	started time.Time
	seen    bool // there was a look that FRR answered
	peers   map[status.PeerID]*past
}

// A past is what is remembered of a peer.
type past struct {
	name    string // of the peer in the configuration, as of when it was wanted last
	session status.Session
	down    time.Time // since when it is not up; zero: it is
	told    []string  // why it is not up since then, as far as that was told

	bare     time.Time // since when it is up and its BFD session is not; zero: that is not so
	bareTold bool      // an event has said so

	events budget
	untold int // events that were not allowed
}

func newHistory(started time.Time) *history {
	return &history{started: started, peers: make(map[status.PeerID]*past)}
}

// next returns what has changed. Names has the peers that the configuration wants
// sessions with, and what it calls them.
func (h *history) next(l look, names map[status.PeerID]string) []cluster.Event {
	if !h.seen && !l.answered {
		return nil
	}
	ids := make([]status.PeerID, 0, len(l.sessions))
	for id := range l.sessions {
		ids = append(ids, id)
		if h.peers[id] == nil {
			h.peers[id] = &past{down: l.at, events: newBudget(l.at)}
		}
	}
	for id := range h.peers {
		if _, there := l.sessions[id]; !there {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, status.PeerID.Compare)
	var events []cluster.Event
	for _, id := range ids {
		p := h.peers[id]
		name, wanted := names[id]
		if wanted {
			p.name = name
		}
		now, there := l.sessions[id]
		change := p.change(l, now, there, wanted, h)
		events = append(events, p.limit(l.at, now, p.label(id), change)...)
		p.session = now
		if !there && !wanted && l.answered {
			delete(h.peers, id)
		}
	}
	h.seen = true
	return events
}

// A change is an event before its peer is named.
type change struct {
	reason  string
	warning bool
	text    string // follows "BGP session with NAME "
}

// change returns what has become of one session; the zero value is nothing new.
func (p *past) change(l look, now status.Session, there, wanted bool, h *history) change {
	was := p.session
	switch {
	case was.Up() && now.Up() && (now.Dropped > was.Dropped || now.Since.Sub(was.Since) > clockStep):
		return change{eventSessionDown, true, fmt.Sprintf("was down and is up again, after %s: %s",
			age(now.Since.Sub(was.Since)), cmp.Or(now.LastError, "FRR has started anew"))}
	case was.Up() && now.Up():
		return p.guard(l.at, was, now)
	case now.Up():
		before := p.down
		p.down, p.told = time.Time{}, nil
		if !h.seen && now.Since.Before(h.started) {
			return change{}
		}
		text := "is up"
		if d := now.Since.Sub(before); h.seen && d >= time.Second {
			text += " after " + age(d)
		}
		return change{eventSessionUp, false, text}
	case was.Up():
		why := now.LastError
		switch {
		case !l.answered:
			why = "FRR does not answer"
		case !there && wanted:
			why = "FRR has started anew"
		case !there:
			why = "it is not configured any more"
		}
		why = cmp.Or(why, string(now.State))
		p.down, p.told = l.at, nil
		return change{eventSessionDown, there || wanted || !l.answered,
			fmt.Sprintf("is down after %s: %s", age(l.at.Sub(was.Since)), why)}
	case was.State != "" && now.Dropped > was.Dropped:
		why := cmp.Or(now.LastError, string(now.State))
		return change{eventSessionDown, true, "was up for a moment, and is down: " + why}
	case !there || l.at.Sub(p.down) < failAfter || len(p.told) >= failReasons:
		return change{}
	}
	why := cmp.Or(now.Diagnosis, now.LastError, string(now.State))
	word := cmp.Or(string(now.Fault), why)
	if slices.Contains(p.told, word) {
		return change{}
	}
	p.told = append(p.told, word)
	return change{eventSessionFail, true, fmt.Sprintf("is not up after %s: %s", age(l.at.Sub(p.down)), why)}
}

// guard reports a BFD session that is down while BGP is up: BGP does not know it
// yet, goes on without it, or has come up without it.
func (p *past) guard(at time.Time, was, now status.Session) change {
	diagnostic := cmp.Or(now.BFDDiagnostic, "no reason given")
	switch {
	case now.BFD == "" || now.BFD == "up":
		p.bare, p.bareTold = time.Time{}, false
	case was.BFD == "up":
		p.bare, p.bareTold = at, true
		return change{eventBFDDown, true, fmt.Sprintf("is up, and its BFD session is %s: %s", now.BFD, diagnostic)}
	case p.bare.IsZero():
		p.bare = at
	case !p.bareTold && at.Sub(p.bare) >= failAfter:
		p.bareTold = true
		return change{eventBFDDown, true, fmt.Sprintf("is up, and its BFD session is %s after %s: enable BFD for this neighbor on the router, with single or multiple hops as here",
			now.BFD, age(at.Sub(p.bare)))}
	}
	return change{}
}

// limit puts a change into words, unless there were too many of late. What was
// kept back is made up for by what is true when there may be another event.
func (p *past) limit(at time.Time, now status.Session, name string, c change) []cluster.Event {
	if c == (change{}) && p.untold == 0 {
		return nil
	}
	if !p.events.take(at) {
		if c != (change{}) {
			p.untold++
		}
		return nil
	}
	if c == (change{}) {
		c = change{eventSessionDown, true, "is down: " + cmp.Or(now.Diagnosis, now.LastError, string(now.State), "FRR does not have it")}
		if now.Up() {
			c = change{eventSessionUp, false, "is up"}
		}
	}
	if p.untold > 0 {
		c.text += fmt.Sprintf(" (it has changed %d times since the last event)", p.untold)
		p.untold = 0
	}
	return []cluster.Event{{Warning: c.warning, Reason: c.reason, Message: "BGP session with " + name + " " + c.text}}
}

// label returns what people call a peer.
func (p *past) label(id status.PeerID) string {
	if p.name == "" {
		return id.String()
	}
	return fmt.Sprintf("%s (%s)", p.name, id)
}

// age puts a time that has passed into words.
func age(d time.Duration) string { return max(d, 0).Round(time.Second).String() }
