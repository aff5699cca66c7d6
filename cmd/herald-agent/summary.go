// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
)

// A summary is what the ConfigurationState says of the sessions. It changes when a
// session comes up, goes down or has another fault, and not more often than events
// do.
type summary struct {
	answered time.Time // when FRR did so last
	peers    map[status.PeerID]*summarized
	all      []reconcile.SessionState
}

// A summarized is what is said of one session.
type summarized struct {
	said   reconcile.SessionState
	writes budget
}

// next takes in a look at the sessions that are wanted, and returns what to say of
// them, in the order of the peers' names, and whether that is news.
func (s *summary) next(l look, wanted map[status.PeerID]status.Peer) (all []reconcile.SessionState, news bool) {
	if l.answered || s.answered.IsZero() {
		s.answered = l.at
	}
	if s.peers == nil {
		s.peers = map[status.PeerID]*summarized{}
	}
	maps.DeleteFunc(s.peers, func(id status.PeerID, _ *summarized) bool {
		_, ok := wanted[id]
		return !ok
	})
	if !l.answered && l.at.Sub(s.answered) < failAfter {
		return s.all, false // a restart is over sooner
	}
	all = make([]reconcile.SessionState, 0, len(wanted))
	for id, p := range wanted {
		now := sessionStateOf(p.Name, l.sessions[id], l)
		old := s.peers[id]
		switch {
		case old == nil:
			s.peers[id] = &summarized{now, newBudget(l.at)}
		case old.said.Peer == now.Peer && old.said.Up == now.Up && old.said.Reason == now.Reason && now.Since.Sub(old.said.Since).Abs() <= clockStep,
			old.said.Peer == now.Peer && !old.said.Up && old.said.Reason == now.Reason,
			old.said.Peer == now.Peer && !old.said.Up && now.Reason == status.SessionConnecting,
			!old.writes.take(l.at):
			now = old.said // it has the time at which that became so
		default:
			if !old.said.Up && !now.Up {
				now.Since = old.said.Since // it has been down since then, for whatever reason
			}
			old.said = now
		}
		all = append(all, now)
	}
	slices.SortFunc(all, func(a, b reconcile.SessionState) int {
		return cmp.Compare(a.Peer, b.Peer)
	})
	news = s.all == nil || !slices.EqualFunc(s.all, all, reconcile.SessionState.Equal)
	s.all = all
	return all, news
}

// sessionStateOf returns what there is to say of a session at a moment.
func sessionStateOf(name string, s status.Session, l look) reconcile.SessionState {
	if s.Up() {
		return reconcile.SessionState{Peer: name, Up: true, Since: s.Since}
	}
	out := reconcile.SessionState{Peer: name, Since: l.at, Reason: s.Fault, Message: s.Diagnosis}
	switch {
	case !l.answered:
		out.Reason, out.Message = status.SessionSilentFRR, "FRR does not answer"
	case s.Fault == "":
		out.Reason, out.Message = status.SessionConnecting, cmp.Or(s.LastError, "FRR has not opened it yet")
	}
	return out
}
