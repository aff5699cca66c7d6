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

// peerSessions counts the sessions with a peer in its status.
type peerSessions struct {
	Wanted int `json:"wanted"`
	Up     int `json:"up"`

	// Summary is UP/WANTED: a printer column shows one field.
	Summary string `json:"summary"`
}

// setSessions sets the sessions with a peer, and reports whether they were others.
func (s *resourceStatus) setSessions(have resourceStatus, is reconcile.ResourceStatus, now time.Time) bool {
	p := is.Sessions
	if p == nil {
		return false
	}
	s.Sessions = &peerSessions{p.Wanted, p.Up, fmt.Sprintf("%d/%d", p.Up, p.Wanted)}
	changed := s.set(conditionSessionsUp, is.Generation, p.AllUp(), string(p.Reason), p.Message, now)
	return changed || !equalPtr(have.Sessions, s.Sessions)
}

// sessionEvents returns an event where sessions with a peer do not come up, do so for
// another reason, or are all up after that.
func (w *ResourceStatusWriter) sessionEvents(have resourceStatus, is reconcile.ResourceStatus) []cluster.Event {
	p := is.Sessions
	if p == nil || !p.Settled() {
		return nil
	}
	before, known := w.sessions[is.ID]
	if !known { // the leader before this one may have recorded one
		if c := have.condition(conditionSessionsUp); c != nil {
			before = c.Reason
		}
	}
	now := string(p.Reason)
	w.sessions[is.ID] = now
	switch {
	case now == before || p.AllUp() && before == "":
		return nil
	case p.AllUp():
		return []cluster.Event{{Reason: eventSessionsUp, Message: p.Message}}
	}
	return []cluster.Event{{Warning: true, Reason: eventSessionsDown, Message: p.Message}}
}
