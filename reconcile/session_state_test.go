// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
)

func TestPeerSessions(t *testing.T) {
	up := func(peer string) reconcile.SessionState { return reconcile.SessionState{Peer: peer, Up: true} }
	down := func(peer string, reason status.Reason) reconcile.SessionState {
		return reconcile.SessionState{Peer: peer, Reason: reason, Message: "why " + string(reason)}
	}
	type sessions = []reconcile.SessionState
	many := reconcile.NodeSessions{}
	for i := range 9 {
		many[fmt.Sprintf("n%d", i)] = sessions{down("tor", status.SessionNoAnswer)}
	}
	tests := []struct {
		name     string
		sessions reconcile.NodeSessions
		known    bool
		allUp    bool
		counts   string
		reason   status.Reason
		message  string
	}{
		{"no agent says anything", nil, false, false, "0/0", status.NodeNotSelected, ""},
		{"no node", reconcile.NodeSessions{"n1": {}, "n2": {up("other")}}, true, false, "0/0", status.NodeNotSelected,
			"no node holds a session: its nodeSelectors match no node with an agent, or it is refused there"},
		{"all are up", reconcile.NodeSessions{"n1": {up("tor")}, "n2": {up("other"), up("tor")}, "n3": {}}, true, true, "2/2", "Established",
			"2 of 2 sessions are up"},
		{"one is down", reconcile.NodeSessions{"n1": {up("tor")}, "n2": {down("tor", status.SessionPassword), down("other", "x")}}, true, false, "1/2",
			status.SessionPassword, "1 of 2 sessions are up; n2: why WrongPassword"},
		{"for the same reason", reconcile.NodeSessions{"n2": {down("tor", status.SessionPeerAS)}, "n1": {down("tor", status.SessionPeerAS)}}, true, false, "0/2",
			status.SessionPeerAS, "0 of 2 sessions are up; n1: why BadPeerAS; n2: why BadPeerAS"},
		{"for several reasons", reconcile.NodeSessions{"n1": {down("tor", status.SessionPeerAS)}, "n2": {down("tor", status.SessionBFD)}, "n3": {down("tor", status.SessionPeerAS)}}, true, false, "0/3",
			reconcile.ReasonSessionsDown, "0 of 3 sessions are up; n1: why BadPeerAS; n2: why BFDDown; n3: why BadPeerAS"},
		{"many", many, true, false, "0/9", status.SessionNoAnswer,
			"0 of 9 sessions are up; n0: why NoAnswer; n1: why NoAnswer; n2: why NoAnswer; n3: why NoAnswer; n4: why NoAnswer and 4 more"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, known := tt.sessions.Of("tor")
			if known != tt.known {
				t.Fatalf("known: %v", known)
			}
			if known && (got.AllUp() != tt.allUp || fmt.Sprintf("%d/%d", got.Up, got.Wanted) != tt.counts || got.Reason != tt.reason || got.Message != tt.message) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// A Fleet has the sessions of the agents that list any.
func TestFleetSessions(t *testing.T) {
	var f reconcile.Fleet
	now := time.Now()
	state := reconcile.State{Known: true, Version: "1"}
	f.Hear("old", state, now)
	state.Sessions = []reconcile.SessionState{}
	f.Hear("n1", state, now)
	told := state
	told.Sessions = []reconcile.SessionState{{Peer: "tor", Up: true}}
	if !f.Hear("n1", told, now) || f.Hear("n1", told, now) {
		t.Error("a session that is up is no news, or is news twice")
	}
	got := f.Sessions()
	if len(got) != 1 || len(got["n1"]) != 1 || !got["n1"][0].Up {
		t.Errorf("got %+v", got)
	}
	if f.Hear("n1", state, now); len(got["n1"]) != 1 || len(f.Sessions()["n1"]) != 0 {
		t.Error("what was returned has changed, or what follows has not")
	}
}
