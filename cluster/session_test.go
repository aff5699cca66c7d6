// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"fmt"
	"testing"
	"time"

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
		errors   string
	}{
		{"no agent says anything", nil, false, false, "0/0", status.NodeNotSelected, "", ""},
		{"no node", cluster.NodeSessions{"n1": {}, "n2": {up("other")}}, true, false, "0/0", status.NodeNotSelected,
			"no node holds a session: its nodeSelectors match no node with an agent, or it is refused there", "NodeNotSelected"},
		{"all are up", cluster.NodeSessions{"n1": {up("tor")}, "n2": {up("other"), up("tor")}, "n3": {}}, true, true, "2/2", "Established",
			"2 of 2 sessions are up", ""},
		{"one is down", cluster.NodeSessions{"n1": {up("tor")}, "n2": {down("tor", status.SessionPassword), down("other", "x")}}, true, false, "1/2",
			status.SessionPassword, "1 of 2 sessions are up; n2: why WrongPassword", "WrongPassword on n2"},
		{"for the same reason", cluster.NodeSessions{"n2": {down("tor", status.SessionPeerAS)}, "n1": {down("tor", status.SessionPeerAS)}}, true, false, "0/2",
			status.SessionPeerAS, "0 of 2 sessions are up; n1: why BadPeerAS; n2: why BadPeerAS", "BadPeerAS on n1, n2"},
		{"for several reasons", cluster.NodeSessions{"n1": {down("tor", status.SessionPeerAS)}, "n2": {down("tor", status.SessionBFD)}, "n3": {down("tor", status.SessionPeerAS)}}, true, false, "0/3",
			cluster.ReasonSessionsDown, "0 of 3 sessions are up; n1: why BadPeerAS; n2: why BFDDown; n3: why BadPeerAS", "BFDDown on n2; BadPeerAS on n1, n3"},
		{"for a reason that the agent does not say", cluster.NodeSessions{"n1": {{Peer: "tor"}}}, true, false, "0/1", "", "0 of 1 sessions are up; n1: ", "Down on n1"},
		{"many", many, true, false, "0/9", status.SessionNoAnswer,
			"0 of 9 sessions are up; n0: why NoAnswer; n1: why NoAnswer; n2: why NoAnswer; n3: why NoAnswer; n4: why NoAnswer and 4 more", "NoAnswer on n0, n1, n2, n3, n4 and 4 more"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, known := tt.sessions.Of("tor")
			if known != tt.known {
				t.Fatalf("known: %v", known)
			}
			if known && (got.AllUp() != tt.allUp || fmt.Sprintf("%d/%d", got.Up, got.Wanted) != tt.counts || got.Reason != tt.reason || got.Message != tt.message || got.Errors != tt.errors) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// The list of nodes is bounded, and has those first whose session is down.
func TestPeerSessionNodes(t *testing.T) {
	all := cluster.NodeSessions{}
	for i := range 120 {
		all[fmt.Sprintf("n%03d", i)] = []cluster.SessionState{{Peer: "tor", Up: i%40 != 7}}
	}
	got := all.ByPeer()["tor"]
	if len(got.Nodes) != 50 || got.Up != 117 || got.Wanted != 120 {
		t.Fatalf("%d nodes, %d of %d up", len(got.Nodes), got.Up, got.Wanted)
	}
	for i, want := range []string{"n007", "n047", "n087", "n000", "n001"} {
		if n := got.Nodes[i]; n.Node != want || n.Up != (i > 2) {
			t.Errorf("node %d is %s, up %v; want %s", i, n.Node, n.Up, want)
		}
	}
	if !got.Equal(all.ByPeer()["tor"]) {
		t.Error("equal sessions differ")
	}
	all["n001"] = []cluster.SessionState{{Peer: "tor", Up: true, Since: time.Unix(1, 0)}}
	if got.Equal(all.ByPeer()["tor"]) {
		t.Error("sessions of another time are equal")
	}
}
