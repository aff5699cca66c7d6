// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/reconcile"
)

// conditionSessionsUp says whether all sessions with a peer are up.
const conditionSessionsUp = "SessionsUp"

// Reasons of events about a BGPPeer, as those about a Node.
const (
	eventSessionsUp   = "BGPSessionUp"
	eventSessionsDown = "BGPSessionNotUp" // warning
)

// sessionSettle is how long no node may hold a session with a peer until that is
// said: agents take a moment to follow an edit.
const sessionSettle = 5 * time.Second

// peerSessions counts the sessions with a peer in its status.
type peerSessions struct {
	Wanted int `json:"wanted"`
	Up     int `json:"up"`

	// Summary is UP/WANTED: a printer column shows one field.
	Summary string `json:"summary"`
}

// judge decides what to say of the sessions with a peer, and returns how long to
// wait until there may be more to say; 0: that time alone changes nothing.
func (r *ResourceStatus) judge(s *said, sessions reconcile.NodeSessions, now time.Time) time.Duration {
	of, known := sessions.Of(s.Name)
	if !known {
		return 0
	}
	if of.Wanted > 0 {
		delete(r.absent, s.ID)
		if of.Settled() || s.have.Sessions != nil {
			s.sessions = &of // at first sessions are being opened: that is no news
		}
		return 0
	}
	since, ok := r.absent[s.ID]
	if !ok {
		r.absent[s.ID], since = now, now
	}
	if left := sessionSettle - now.Sub(since); left > 0 {
		return left
	}
	s.sessions = &of
	return 0
}

// setSessions makes a status say how the sessions with a peer stand, and reports
// whether it said something else.
func (s *resourceStatus) setSessions(have resourceStatus, is said, now time.Time) bool {
	p := is.sessions
	if p == nil {
		return false
	}
	s.Sessions = &peerSessions{p.Wanted, p.Up, fmt.Sprintf("%d/%d", p.Up, p.Wanted)}
	changed := s.set(conditionSessionsUp, is.Generation, p.AllUp(), string(p.Reason), p.Message, now)
	return changed || !equalPtr(have.Sessions, s.Sessions)
}

// Sessions returns the sessions of nodes, as agents say; nil if that is not known,
// as while this does not run.
func (r *ResourceStatus) Sessions() reconcile.NodeSessions { return r.fleet.getSessions() }

// tellSessions records an event where sessions with a peer do not come up, do so for
// another reason, or are all up after that.
func (r *ResourceStatus) tellSessions(s said) {
	p := s.sessions
	if p == nil || !p.Settled() {
		return
	}
	before, known := r.sessions[s.ID]
	if !known { // the leader before this one may have told
		if c := s.have.condition(conditionSessionsUp); c != nil {
			before = c.Reason
		}
	}
	now := string(p.Reason)
	r.sessions[s.ID] = now
	if now == before || p.AllUp() && before == "" {
		return
	}
	e := cluster.Event{Warning: true, Reason: eventSessionsDown, Message: p.Message}
	if p.AllUp() {
		e = cluster.Event{Reason: eventSessionsUp, Message: p.Message}
	}
	r.opts.Events.Resource(r.opts.Resources.opts.Namespace, s.Verdict, e)
}
