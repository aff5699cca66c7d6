// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
)

// TestResourceJudgeSessions follows what is said of the sessions with a peer.
func TestResourceJudgeSessions(t *testing.T) {
	type sessions = []cluster.SessionState
	up := cluster.SessionState{Peer: "tor", Up: true}
	opening := cluster.SessionState{Peer: "tor", Reason: status.SessionConnecting}
	down := cluster.SessionState{Peer: "tor", Reason: status.SessionNoAnswer}
	var j reconcile.ResourceJudge
	published := false
	now := time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	for _, s := range []struct {
		name       string
		after      time.Duration
		unheard    bool
		generation int64
		sessions   cluster.NodeSessions
		want       string
		next       time.Duration
	}{
		{name: "agents are not heard", unheard: true, want: "nothing"},
		{name: "agents do not say", want: "nothing"},
		{name: "a session is being opened", sessions: cluster.NodeSessions{"n1": sessions{opening}}, want: "nothing"},
		{name: "it does not come up", sessions: cluster.NodeSessions{"n1": sessions{down}}, want: "0/1"},
		{name: "now that it opens is news", sessions: cluster.NodeSessions{"n1": sessions{opening}}, want: "0/1"},
		{name: "also after an edit", generation: 2, sessions: cluster.NodeSessions{"n1": sessions{opening}}, want: "0/1"},
		{name: "it is up", generation: 2, sessions: cluster.NodeSessions{"n1": sessions{up}}, want: "1/1"},
		{name: "no node holds one", generation: 2, sessions: cluster.NodeSessions{"n1": {}}, want: "nothing", next: 5 * time.Second},
		{name: "for 3 s", generation: 2, after: 3 * time.Second, sessions: cluster.NodeSessions{"n1": {}}, want: "nothing", next: 2 * time.Second},
		{name: "also if the peer is edited", generation: 3, sessions: cluster.NodeSessions{"n1": {}}, want: "nothing", next: 2 * time.Second},
		{name: "for 5 s", generation: 3, after: 2 * time.Second, sessions: cluster.NodeSessions{"n1": {}}, want: "0/0"},
		{name: "one does", generation: 3, sessions: cluster.NodeSessions{"n1": sessions{up}}, want: "1/1"},
		{name: "the sixth change, a second later", generation: 3, after: time.Second, sessions: cluster.NodeSessions{"n1": sessions{up}, "n2": sessions{up}}, want: "1/1", next: 4 * time.Second},
		{name: "also after an edit, and a seventh", generation: 4, after: time.Second, sessions: cluster.NodeSessions{"n1": sessions{up}, "n2": sessions{down}}, want: "1/1", next: 3 * time.Second},
		{name: "it is time", generation: 4, after: 3 * time.Second, sessions: cluster.NodeSessions{"n1": sessions{up}, "n2": sessions{up}}, want: "2/2"},
		{name: "no more", generation: 3, sessions: cluster.NodeSessions{"n1": {}}, want: "nothing", next: 5 * time.Second},
	} {
		now = now.Add(s.after)
		v := peerVerdict("tor")
		v.UID, v.Generation = "u", max(1, s.generation)
		all, next := j.Next(reconcile.ResourceInput{
			Verdicts: []config.Verdict{v}, Heard: !s.unheard, Sessions: s.sessions.ByPeer(),
			Published: func(config.Verdict) reconcile.PublishedStatus { return reconcile.PublishedStatus{Sessions: published} },
		}, now)
		got := "nothing"
		if of := all[0].Sessions; of != nil {
			got = fmt.Sprintf("%d/%d", of.Up, of.Wanted)
		}
		wait := next.Sub(now)
		if next.IsZero() {
			wait = 0
		}
		if got != s.want || wait != s.next {
			t.Errorf("%s: %s, and again in %s; want %s, %s", s.name, got, wait, s.want, s.next)
		}
	}
	// A leader before this one has written of it.
	published, j = true, reconcile.ResourceJudge{}
	all, _ := j.Next(reconcile.ResourceInput{
		Verdicts: []config.Verdict{peerVerdict("tor")}, Heard: true, Sessions: cluster.NodeSessions{"n1": sessions{opening}}.ByPeer(),
		Published: func(config.Verdict) reconcile.PublishedStatus { return reconcile.PublishedStatus{Sessions: published} },
	}, now)
	if all[0].Sessions == nil {
		t.Error("what the leader before has written of is not kept up to date")
	}
}

// What the leader before said of a version stays while agents apply the configuration.
func TestResourceJudgePublished(t *testing.T) {
	var fleet reconcile.Fleet
	now := time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	fleet.Set([]reconcile.AgentState{{Node: "n1", State: inForce("1"), Since: now}})
	var j reconcile.ResourceJudge
	asked := 0
	next := func(v config.Verdict) reconcile.Programmed {
		rollout, _ := fleet.Rollout("2", now)
		all, _ := j.Next(reconcile.ResourceInput{
			Verdicts: []config.Verdict{v}, Heard: true, Rollout: rollout,
			Published: func(v config.Verdict) reconcile.PublishedStatus {
				asked++
				if v.Generation > 1 {
					return reconcile.PublishedStatus{}
				}
				return reconcile.PublishedStatus{Programmed: &reconcile.Programmed{True: true, Reason: "Programmed", Message: "before"}}
			},
		}, now)
		return *all[0].Programmed
	}
	v := peerVerdict("tor")
	v.UID, v.Generation = "u", 1
	for range 3 {
		if got := next(v); !got.True || got.Message != "before" {
			t.Errorf("got %+v, want what was said before", got)
		}
	}
	v.Generation = 2
	if got := next(v); got.True || got.Reason != reconcile.ReasonPending {
		t.Errorf("of another version: %+v", got)
	}
	v.UID, v.Generation = "another", 1
	if got := next(v); !got.True {
		t.Errorf("of another object: %+v", got)
	}
	if asked != 3 {
		t.Errorf("the status was read %d times, want once a version", asked)
	}
}

// Agents that report what a test says.
type reporting struct {
	mu     sync.Mutex // guards the fields below
	states []reconcile.AgentState
	read   bool
}

func (r *reporting) States() ([]reconcile.AgentState, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.states, r.read
}

func (*reporting) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// A pass that follows an agent's report decides by it whether a version is in force, and
// how sessions stand; time alone is followed, too.
func TestControllerProgrammed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, agents := &scene{}, &reporting{}
		s := newStageWith(t, reconcile.ControllerOptions{Resources: shelf{w}, Agents: agents}, unread)
		defer s.stop()
		peer := config.ID{Kind: config.KindPeer, Name: "tor"}
		is := func(what, want string) {
			t.Helper()
			w.mu.Lock()
			defer w.mu.Unlock()
			got := "unknown"
			if r := w.resources[peer]; r.Programmed != nil {
				got = r.Programmed.Reason
				if r.Sessions != nil {
					got += fmt.Sprintf(" %d/%d", r.Sessions.Up, r.Sessions.Wanted)
				}
			}
			if got != want {
				t.Errorf("%s: it is %s, want %s", what, got, want)
			}
		}
		reports := func(read bool, states ...reconcile.AgentState) {
			agents.mu.Lock()
			agents.states, agents.read = states, read
			agents.mu.Unlock()
			s.wake()
			time.Sleep(20 * time.Millisecond)
			synctest.Wait()
		}
		on := func(node, version string, sessions ...cluster.SessionState) reconcile.AgentState {
			return reconcile.AgentState{Node: node, Since: time.Now(), State: reconcile.State{Known: true, Version: version, Sessions: sessions}}
		}
		s.change(func() {
			s.doc = &source.Document{Source: "resources", Version: "2", Resources: &config.Resources{Objects: []config.Object{
				{ID: peer, Spec: []byte(`{"myASN":1,"peerASN":2,"peerAddress":"10.0.0.1"}`)},
			}}}
		})
		is("agents are not read", "unknown")
		up := cluster.SessionState{Peer: "tor", Up: true}
		reports(true, on("n1", "2", up), on("n2", "1"))
		is("one is behind", "Pending 1/1")
		reports(true, on("n1", "2", up), on("n2", "2", cluster.SessionState{Peer: "tor", Reason: status.SessionNoAnswer}))
		is("it has come", "Programmed 1/2")
		s.change(func() {
			next := *s.doc
			next.Version = "3"
			next.Resources = &config.Resources{Objects: []config.Object{
				{ID: peer, Generation: 2, Spec: []byte(`{"myASN":1,"peerASN":3,"peerAddress":"10.0.0.1"}`)},
			}}
			s.doc = &next
		})
		reports(true, on("n1", "3", up), on("n2", "2"))
		is("an edit", "Pending 1/1")
		time.Sleep(31 * time.Second)
		synctest.Wait()
		is("one is silent", "Programmed 1/1")
		reports(true, on("n1", "3"))
		is("no node holds a session", "Programmed")
	})
}
