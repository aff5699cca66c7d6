// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"slices"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/excerpt"
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

	// Printer columns show one field each: UP/WANTED, and why sessions are down, in short.
	Summary   string `json:"summary"`
	LastError string `json:"lastError"`

	Nodes []nodeSession `json:"nodes"`
}

// A nodeSession is the session of a node with a peer.
type nodeSession struct {
	Node string `json:"node"`

	State   string `json:"state"`
	Since   string `json:"since,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

func (p *peerSessions) equal(o *peerSessions) bool {
	if p == nil || o == nil {
		return p == o
	}
	return p.Wanted == o.Wanted && p.Up == o.Up && p.Summary == o.Summary && p.LastError == o.LastError && slices.Equal(p.Nodes, o.Nodes)
}

// setSessions sets the sessions with a peer, and reports whether they were others.
func (s *resourceStatus) setSessions(have resourceStatus, is reconcile.ResourceStatus, now time.Time) bool {
	p := is.Sessions
	if p == nil {
		return false
	}
	s.Sessions = &peerSessions{Wanted: p.Wanted, Up: p.Up, Summary: fmt.Sprintf("%d/%d", p.Up, p.Wanted), LastError: excerpt.Message(p.Errors), Nodes: []nodeSession{}}
	for _, n := range p.Nodes {
		w := sessionStatusOf(n.SessionState)
		s.Sessions.Nodes = append(s.Sessions.Nodes, nodeSession{Node: n.Node, State: w.State, Since: w.Since, Reason: w.Reason, Message: w.Message})
	}
	changed := s.set(conditionSessionsUp, is.Generation, p.AllUp(), string(p.Reason), p.Message, now)
	return changed || !have.Sessions.equal(s.Sessions)
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
