// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/reconcile"
)

// peerVerdict is the verdict on an accepted peer.
func peerVerdict(name string) config.Verdict {
	return config.Verdict{ID: config.ID{Kind: config.KindPeer, Name: name}, Accepted: true, Reason: "Accepted"}
}

// inForce is what an agent says that runs a version.
func inForce(version string, errors ...string) reconcile.State {
	return reconcile.State{Known: true, Version: version, Errors: errors}
}

// failing is what an agent says that goes on with version 1, as FRR does not
// take another one.
func failing(version string) reconcile.State {
	return reconcile.State{Known: true, Version: "1", Failed: version, Failure: "FRR does not answer: bgpd"}
}

// TestFleet follows one peer through what agents say. The controller uses version
// 2 of the configuration unless a step says otherwise.
func TestFleet(t *testing.T) {
	type says map[string]reconcile.State
	refused := peerVerdict("tor")
	refused.Accepted, refused.Reason, refused.Message = false, "Conflict", "the same address as peer spine"
	steps := []struct {
		name    string
		after   time.Duration
		says    says
		gone    string
		version string          // empty: 2
		verdict *config.Verdict // nil: accepted
		isNew   bool            // another generation of the peer
		want    string          // of what is said of the peer: True or False, reason, and message
	}{
		{name: "nobody has said anything", want: "False Pending the agents have not all said yet that it is in force"},
		{name: "one of two", says: says{"n1": inForce("2"), "n2": inForce("1")}, want: "False Pending the agents have not all said yet that it is in force"},
		{name: "both", says: says{"n2": inForce("2")}, want: "True Programmed in force on all nodes"},
		{name: "another object changes", version: "3", want: "True Programmed in force on all nodes"},
		{name: "a node cannot have it, and the other has not said", version: "3",
			says: says{"n1": inForce("3", "BGPPeer/tor: the same address as peer spine", "BGPPeer/x: bad")}, want: "True Programmed in force on all nodes"},
		{name: "the other has", version: "3", says: says{"n2": inForce("3", "BGPPeer/x: bad")}, want: "False NodeError n1: the same address as peer spine"},
		{name: "that stays while agents are on their way", version: "4", says: says{"n1": inForce("4")}, want: "False NodeError n1: the same address as peer spine"},
		{name: "until all are", version: "4", says: says{"n2": inForce("4")}, want: "True Programmed in force on all nodes"},
		{name: "a new agent", version: "4", says: says{"n3": {}}, want: "True Programmed in force on all nodes"},
		{name: "it is refused", version: "4", verdict: &refused, want: "False NotAccepted the same address as peer spine"},
		{name: "it is no more", version: "4", want: "False Pending the agents have not all said yet that it is in force"},
		{name: "the new agent says nothing for long", version: "4", after: 31 * time.Second,
			want: "True Programmed in force on all nodes but those whose agents do not say so: n3"},
		{name: "it comes", version: "4", says: says{"n3": inForce("4")}, want: "True Programmed in force on all nodes"},
		{name: "FRR on n2 fails at what others asked for", says: says{"n1": inForce("2"), "n2": failing("2"), "n3": inForce("2")}, want: "True Programmed in force on all nodes"},
		{name: "FRR on n2 fails at the peer", isNew: true, want: "False DataPlane n2: FRR does not answer: bgpd"},
		{name: "for long", after: time.Minute, want: "False DataPlane n2: FRR does not answer: bgpd"},
		{name: "there is a newer one, of which n2 says nothing", version: "5", says: says{"n1": inForce("5"), "n3": inForce("5")}, want: "False DataPlane n2: FRR does not answer: bgpd"},
		{name: "for long: it may be gone", version: "5", after: 31 * time.Second, want: "True Programmed in force on all nodes but those whose agents do not say so: n2"},
		{name: "nor of any later one: nobody waits again", version: "6", isNew: true, says: says{"n1": inForce("6"), "n3": inForce("6")},
			want: "True Programmed in force on all nodes but those whose agents do not say so: n2"},
		{name: "it is gone", version: "6", gone: "n2", want: "True Programmed in force on all nodes"},
		{name: "all are gone", version: "7", gone: "n1 n3", want: "True Programmed in force on all nodes"},
	}
	var fleet reconcile.Fleet
	var said *reconcile.Programmed
	now := time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	for _, s := range steps {
		now = now.Add(s.after + time.Millisecond)
		for node, state := range s.says {
			if !fleet.Hear(node, state, now) {
				t.Errorf("%s: what %s says is no news", s.name, node)
			}
			if fleet.Hear(node, state, now) {
				t.Errorf("%s: what %s says again is news", s.name, node)
			}
		}
		if s.gone != "" && !fleet.Keep(func(node string) bool { return !strings.Contains(s.gone, node) }) {
			t.Errorf("%s: nobody is gone", s.name)
		}
		if s.version == "" {
			s.version = "2"
		}
		verdict := peerVerdict("tor")
		if s.verdict != nil {
			verdict = *s.verdict
		}
		if s.isNew {
			said = nil
		}
		rollout, _ := fleet.Rollout(s.version, now)
		p := rollout.Programmed(verdict, said)
		said = &p
		got := p.Reason + " " + p.Message
		if p.True {
			got = "True " + got
		} else {
			got = "False " + got
		}
		if got != s.want {
			t.Errorf("%s: got %q, want %q", s.name, got, s.want)
		}
	}
}

// TestFleetWait asks how long a rollout waits for an agent.
func TestFleetWait(t *testing.T) {
	now := time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	var fleet reconcile.Fleet
	wait := func(what string, want time.Duration) {
		t.Helper()
		_, next := fleet.Rollout("2", now)
		got := next.Sub(now)
		if next.IsZero() {
			got = 0
		}
		if got != want {
			t.Errorf("%s: %v to wait, want %v", what, got, want)
		}
	}
	wait("nobody is there", 0)
	fleet.Hear("n1", inForce("1"), now)
	wait("one is behind", 30*time.Second)
	now = now.Add(10 * time.Second)
	fleet.Hear("n2", inForce("1"), now)
	wait("another one, for a shorter time", 20*time.Second)
	fleet.Hear("n1", inForce("2"), now)
	wait("the first is there", 30*time.Second)
	fleet.Hear("n2", failing("2"), now)
	wait("the other one has said why it is not", 0)
	if fleet.Keep(func(string) bool { return true }) {
		t.Error("somebody is gone")
	}
}

// TestFleetMany names a few of many nodes.
func TestFleetMany(t *testing.T) {
	var fleet reconcile.Fleet
	for _, node := range strings.Fields("n7 n6 n5 n4 n3 n2 n1") {
		fleet.Hear(node, inForce("2", "BGPPeer/tor: bad"), time.Time{})
	}
	rollout, _ := fleet.Rollout("2", time.Time{})
	if got, want := rollout.Programmed(peerVerdict("tor"), nil).Message, "n1: bad; n2: bad; n3: bad; n4: bad; n5: bad and 2 more"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := rollout.Programmed(peerVerdict("spine"), nil); !got.True {
		t.Errorf("of a peer that is in force: %+v", got)
	}
}

// A Fleet has the sessions of the agents that list any.
func TestFleetSessions(t *testing.T) {
	var f reconcile.Fleet
	now := time.Now()
	state := reconcile.State{Known: true, Version: "1"}
	f.Hear("old", state, now)
	state.Sessions = []cluster.SessionState{}
	f.Hear("n1", state, now)
	told := state
	told.Sessions = []cluster.SessionState{{Peer: "tor", Up: true}}
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
