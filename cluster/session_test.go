// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"fmt"
	"testing"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

func TestPeerSessions(t *testing.T) {
	up := func(peer string) cluster.SessionState { return cluster.SessionState{Peer: peer, Up: true} }
	down := func(peer string, reason status.Reason) cluster.SessionState {
		return cluster.SessionState{Peer: peer, Reason: reason, Message: "why " + string(reason)}
	}
	type sessions = []cluster.SessionState
	many := cluster.NodeSessions{}
	for i := range 9 {
		many[fmt.Sprintf("n%d", i)] = sessions{down("tor", status.SessionNoAnswer)}
	}
	tests := []struct {
		name     string
		sessions cluster.NodeSessions
		known    bool
		allUp    bool
		counts   string
		reason   status.Reason
		message  string
	}{
		{"no agent says anything", nil, false, false, "0/0", status.NodeNotSelected, ""},
		{"no node", cluster.NodeSessions{"n1": {}, "n2": {up("other")}}, true, false, "0/0", status.NodeNotSelected,
			"no node holds a session: its nodeSelectors match no node with an agent, or it is refused there"},
		{"all are up", cluster.NodeSessions{"n1": {up("tor")}, "n2": {up("other"), up("tor")}, "n3": {}}, true, true, "2/2", "Established",
			"2 of 2 sessions are up"},
		{"one is down", cluster.NodeSessions{"n1": {up("tor")}, "n2": {down("tor", status.SessionPassword), down("other", "x")}}, true, false, "1/2",
			status.SessionPassword, "1 of 2 sessions are up; n2: why WrongPassword"},
		{"for the same reason", cluster.NodeSessions{"n2": {down("tor", status.SessionPeerAS)}, "n1": {down("tor", status.SessionPeerAS)}}, true, false, "0/2",
			status.SessionPeerAS, "0 of 2 sessions are up; n1: why BadPeerAS; n2: why BadPeerAS"},
		{"for several reasons", cluster.NodeSessions{"n1": {down("tor", status.SessionPeerAS)}, "n2": {down("tor", status.SessionBFD)}, "n3": {down("tor", status.SessionPeerAS)}}, true, false, "0/3",
			cluster.ReasonSessionsDown, "0 of 3 sessions are up; n1: why BadPeerAS; n2: why BFDDown; n3: why BadPeerAS"},
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
