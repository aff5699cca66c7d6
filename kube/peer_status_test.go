// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
)

// holds has the agent of a node say how its session with a peer stands: up if there
// is no reason.
func (a *api) holds(node, peer, reason string) {
	state, message := "Up", ""
	if reason != "" {
		state, message = "Down", "why "+reason
	}
	a.set("configurationstates", "speaker-"+node, "", 1, fmt.Sprintf(
		`"status":{"result":"Valid","configuration":"1","sessions":[{"peer":%q,"state":%q,"reason":%q,"message":%q}]}`, peer, state, reason, message))
}

// peer returns what the status of a BGPPeer says of its sessions, in short.
func (a *api) peer(name string) string {
	var s struct {
		Sessions *struct {
			Wanted, Up int
			Summary    string
		}
		Conditions []struct{ Type, Status, Reason, Message string }
	}
	if err := json.Unmarshal([]byte(a.status("bgppeers", name)), &s); err != nil {
		return err.Error()
	}
	if s.Sessions == nil {
		return "nothing"
	}
	out := fmt.Sprintf("%d of %d, %s", s.Sessions.Up, s.Sessions.Wanted, s.Sessions.Summary)
	for _, c := range s.Conditions {
		if c.Type == "SessionsUp" {
			out += fmt.Sprintf(" %s %s %s", c.Status, c.Reason, c.Message)
		}
	}
	return out
}

// newPeerStatus starts what writes the status of the BGPPeer tor, which is accepted.
func newPeerStatus(t *testing.T, a *api, c *kube.Client) *resourceLoop {
	t.Helper()
	a.set("bgppeers", "tor", `{}`, 1)
	w := newResourceLoop(t, c, newResources(t, c, func() {}), nil)
	w.set(verdicts{version: "1", all: []config.Verdict{{
		ID: config.ID{Kind: config.KindPeer, Name: "tor"}, UID: "u-tor", Generation: 1, Accepted: true, Reason: "Accepted", Message: "in force",
	}}})
	return w
}

// The sessions in ConfigurationStates are counted in the status of the peer, one write
// a change.
func TestPeerSessions(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, allPlurals...)
	w := newPeerStatus(t, a, c)
	is := func(what, want string) {
		t.Helper()
		eventually(t, what, func() bool { return a.peer("tor") == want })
	}
	a.holds("n1", "tor", "Connecting")
	a.holds("n2", "tor", "Connecting")
	eventually(t, "it is in force", func() bool { return a.programmed("bgppeers", "tor") == "True Programmed 1" })
	if got := a.peer("tor"); got != "nothing" {
		t.Errorf("sessions that are being opened are in the status: %s", got)
	}
	a.newWrites()
	a.holds("n1", "tor", "")
	a.holds("n2", "tor", "WrongPassword")
	is("one is up", "1 of 2, 1/2 False WrongPassword 1 of 2 sessions are up; n2: why WrongPassword")
	shows := func(want ...string) {
		t.Helper()
		for _, w := range want {
			if got := a.status("bgppeers", "tor"); !strings.Contains(got, w) {
				t.Errorf("the status is %s, want in it %s", got, w)
			}
		}
	}
	shows(`"lastError":"WrongPassword on n2"`,
		`"nodes":[{"message":"why WrongPassword","node":"n2","reason":"WrongPassword","state":"Down"},{"node":"n1","state":"Up"}]`)
	a.holds("n2", "tor", "")
	is("both are", "2 of 2, 2/2 True Established 2 of 2 sessions are up")
	shows(`"lastError":""`, `"nodes":[{"node":"n1","state":"Up"},{"node":"n2","state":"Up"}]`)
	a.holds("n1", "tor", "Connecting")
	is("one has gone down just now", "1 of 2, 1/2 False Connecting 1 of 2 sessions are up; n1: why Connecting")
	if got := a.newWrites(); len(got) > 5 {
		t.Errorf("%d writes of 4 changes: %v", len(got), got)
	}
	if got, _ := w.agents.States(); len(got) != 2 || !got[1].Sessions[0].Up || got[0].Sessions[0].Up {
		t.Errorf("what is told to others is %+v", got)
	}
	a.holds("n1", "other", "")
	a.holds("n2", "other", "")
	is("no node holds one", "0 of 0, 0/0 False NodeNotSelected no node holds a session: its nodeSelectors match no node with an agent, or it is refused there")
	shows(`"lastError":"NodeNotSelected"`, `"nodes":[]`)
}

// An API server whose definitions lack the fields gets one write for each change,
// and none besides.
func TestPeerSessionsDropped(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, append(allPlurals, "nodes")...)
	a.schema = map[string][]string{"bgppeers": {}, "configurationstates": {"result", "errorSummary", "conditions"}}
	a.set("nodes", "n1", "", 1)
	newPeerStatus(t, a, c)
	a.holds("n2", "tor", "")
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	s := kube.NewStateWriter(kube.StateWriterOptions{Client: c, Namespace: "ns", Node: "n1", Logger: log})
	say := func(up bool) {
		s.Set(reconcile.State{Known: true, Version: "1", Sessions: []cluster.SessionState{{Peer: "tor", Up: up}}})
	}
	say(false)
	run(t, s.Run)
	written := func(name string) func() bool {
		return func() bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			return slices.Contains(a.patches, name)
		}
	}
	eventually(t, "the peer is written", written("tor"))
	eventually(t, "the state is written", written("speaker-n1"))
	time.Sleep(2500 * time.Millisecond)
	a.newWrites()
	time.Sleep(2500 * time.Millisecond)
	if got := a.newWrites(); len(got) > 0 {
		t.Errorf("writes while nothing changes: %v", got)
	}
	say(true)
	a.holds("n2", "tor", "NoAnswer")
	eventually(t, "the peer is written", written("tor"))
	eventually(t, "the state is written", written("speaker-n1"))
	time.Sleep(2500 * time.Millisecond)
	if got := a.newWrites(); len(got) > 2 {
		t.Errorf("%v are written for one change each", got)
	}
}

// What an agent says of its sessions is bounded, those that are down first, and is
// read as it was written.
func TestStateSessions(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, append(allPlurals, "nodes")...)
	a.set("nodes", "n1", "", 1)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	s := kube.NewStateWriter(kube.StateWriterOptions{Client: c, Namespace: "ns", Node: "n1", Logger: log})
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var sessions []cluster.SessionState
	for i := range 120 {
		sessions = append(sessions, cluster.SessionState{Peer: fmt.Sprintf("p%03d", i), Up: true, Since: since})
	}
	sessions[119] = cluster.SessionState{Peer: "p119", Since: since, Reason: status.SessionNoAnswer, Message: strings.Repeat("long ", 1000)}
	s.Set(reconcile.State{Known: true, Version: "1", Sessions: sessions})
	run(t, s.Run)
	var have struct {
		Sessions []struct{ Peer, State, Since, Reason, Message string }
	}
	read := func() bool {
		return json.Unmarshal([]byte(a.status("configurationstates", "speaker-n1")), &have) == nil && len(have.Sessions) > 0
	}
	eventually(t, "the sessions are written", read)
	if len(have.Sessions) != 100 {
		t.Errorf("%d sessions are written, want 100", len(have.Sessions))
	}
	first := have.Sessions[0]
	if first.Peer != "p119" || first.State != "Down" || first.Reason != "NoAnswer" || len(first.Message) != 512 || first.Since != "2026-01-02T03:04:05Z" {
		t.Errorf("the first is %+v", first)
	}
	if second := have.Sessions[1]; second.Peer != "p000" || second.State != "Up" || second.Reason+second.Message != "" {
		t.Errorf("the second is %+v", second)
	}
	s.Set(reconcile.State{Known: true, Version: "1", Sessions: []cluster.SessionState{}})
	eventually(t, "that there are none", func() bool { return strings.Contains(a.status("configurationstates", "speaker-n1"), `"sessions":[]`) })
}
