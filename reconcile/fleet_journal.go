// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"cmp"
	"strings"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

// A fleetJournal puts into a journal what agents report in another way than before: sessions,
// and whether FRR runs what it should. The zero value has heard nothing.
type fleetJournal struct {
	heard bool
	last  []AgentState // in the order of the nodes
}

// next takes in what agents report now. It costs nothing while that stays the same.
func (j *fleetJournal) next(to *status.Journal, states []AgentState, now time.Time) {
	was, is := j.last, states
	first := !j.heard
	j.heard, j.last = true, states
	if to == nil || first || len(was) == len(is) && (len(is) == 0 || &was[0] == &is[0]) {
		return
	}
	sessions, frr := notebook{kind: status.ChangeSession, at: now}, notebook{kind: status.ChangeFRR, at: now}
	for _, state := range is {
		for len(was) > 0 && was[0].Node < state.Node {
			was = was[1:]
		}
		if len(was) == 0 || was[0].Node != state.Node {
			continue // what an agent finds when it starts is no change
		}
		before := was[0]
		frr.note(troubleWord(before.Failure), troubleWord(state.Failure), time.Time{}, func() (string, string) {
			return state.Node + " configuration", state.Failure
		})
		if !sameSessions(before.Sessions, state.Sessions) {
			noteSessions(&sessions, state.Node, before.Sessions, state.Sessions)
		}
	}
	to.Add(sessions.changes()...)
	to.Add(frr.changes()...)
}

func troubleWord(failure string) string {
	if failure != "" {
		return "not applied"
	}
	return "applied"
}

// noteSessions notes what has become of the sessions of a node. Both lists are in the order of
// the peers' names.
func noteSessions(n *notebook, node string, was, is []cluster.SessionState) {
	for _, s := range is {
		for len(was) > 0 && strings.Compare(was[0].Peer, s.Peer) < 0 {
			was = was[1:]
		}
		if len(was) == 0 || was[0].Peer != s.Peer {
			continue // a new peer
		}
		old := was[0]
		var since time.Time
		if old.Up != s.Up && !old.Since.IsZero() {
			since = n.at.Add(old.Since.Sub(s.Since)) // both are by the clock of the node
		}
		n.note(sessionWord(old), sessionWord(s), since, func() (string, string) { return node + " " + s.Peer, s.Message })
	}
}

// sessionWord returns how a session is: the reason why it is down, if it is.
func sessionWord(s cluster.SessionState) string {
	if s.Up {
		return string(status.Established)
	}
	return cmp.Or(string(s.Reason), "down")
}
