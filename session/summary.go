// SPDX-License-Identifier: Apache-2.0

package session

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

// A summary makes the states of sessions that the ConfigurationState publishes. A
// state changes when a session comes up, goes down or has another fault, and not
// more often than there are events.
type summary struct {
	answered time.Time // when FRR answered last
	peers    map[status.PeerID]*published
	all      []cluster.SessionState // nil: nothing was published yet
}

// A published is the state of one session, as it was published last.
type published struct {
	state  cluster.SessionState
	writes budget
}

// next takes in a look at the sessions that are wanted. It returns their states in
// the order of the peers' names, and whether they differ from the last ones.
func (s *summary) next(l look, wanted map[status.PeerID]status.Peer) (all []cluster.SessionState, news bool) {
	if l.answered || s.answered.IsZero() {
		s.answered = l.at
	}
	if s.peers == nil {
		s.peers = map[status.PeerID]*published{}
	}
	maps.DeleteFunc(s.peers, func(id status.PeerID, _ *published) bool {
		_, ok := wanted[id]
		return !ok
	})
	if !l.answered && l.at.Sub(s.answered) < failAfter {
		return s.all, false // a restart is over sooner
	}
	all = make([]cluster.SessionState, 0, len(wanted))
	for id, p := range wanted {
		now := stateOf(p.Name, l.sessions[id], l)
		old := s.peers[id]
		switch {
		case old == nil:
			s.peers[id] = &published{now, newBudget(l.at)}
		case !differ(old.state, now), !old.writes.take(l.at):
			now = old.state
		default:
			if !old.state.Up && !now.Up {
				now.Since = old.state.Since // the outage goes on, with another reason
			}
			old.state = now
		}
		all = append(all, now)
	}
	slices.SortFunc(all, func(a, b cluster.SessionState) int {
		return cmp.Compare(a.Peer, b.Peer)
	})
	news = s.all == nil || !slices.EqualFunc(s.all, all, cluster.SessionState.Equal)
	s.all = all
	return all, news
}

// differ reports whether a session is to be published in another state than before.
// A start that has moved a little, and another wording of the same reason, are no
// difference. Nor is it one that bgpd connects again during an outage.
func differ(old, now cluster.SessionState) bool {
	switch {
	case old.Peer != now.Peer || old.Up != now.Up:
		return true
	case now.Up:
		return now.Since.Sub(old.Since).Abs() > clockStep
	}
	return now.Reason != old.Reason && now.Reason != status.SessionConnecting
}

// stateOf returns the state of a session at a moment.
func stateOf(name string, s status.Session, l look) cluster.SessionState {
	if s.Up() {
		return cluster.SessionState{Peer: name, Up: true, Since: s.Since}
	}
	out := cluster.SessionState{Peer: name, Since: l.at, Reason: s.Fault, Message: s.Diagnosis}
	switch {
	case !l.answered:
		out.Reason, out.Message = status.SessionSilentFRR, "FRR does not answer"
	case s.Fault == "":
		out.Reason, out.Message = status.SessionConnecting, cmp.Or(s.LastError, "FRR has not opened it yet")
	}
	return out
}
