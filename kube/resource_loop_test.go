// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/reconcile"
)

// A resourceLoop has the status of resources judged and written as a controller does
// that leads, for verdicts that a test gives it.
type resourceLoop struct {
	agents *kube.AgentStates
	worker *reconcile.Worker

	mu     sync.Mutex // guards wanted
	wanted verdicts
}

// verdicts are what a controller makes of resources.
type verdicts struct {
	all     []config.Verdict
	version string
	refs    map[config.ID]reconcile.Refs
	protect bool
}

// newResourceLoop starts one whose events are written if they are given.
func newResourceLoop(t *testing.T, c *kube.Client, r *kube.Resources, events *kube.Recorder) *resourceLoop {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	if events == nil {
		events = kube.NewRecorder(c, "test", log)
	}
	l := &resourceLoop{worker: reconcile.NewWorker()}
	l.agents = kube.NewAgentStates(kube.AgentStatesOptions{Client: c, Namespace: "ns", Wake: l.worker.Wake})
	w := kube.NewResourceStatusWriter(kube.ResourceStatusWriterOptions{Client: c, Resources: r, Events: events, Logger: log})
	var fleet reconcile.Fleet
	var judge reconcile.ResourceJudge
	run(t, w.Run)
	run(t, l.agents.Run)
	run(t, func(ctx context.Context) error {
		return l.worker.Run(ctx, func() {
			l.mu.Lock()
			wanted := l.wanted
			l.mu.Unlock()
			now := time.Now()
			in := reconcile.ResourceInput{Verdicts: wanted.all, Refs: wanted.refs, Protect: wanted.protect, Published: w.Published}
			var states []reconcile.AgentState
			var due time.Time
			states, in.Heard = l.agents.States()
			fleet.Set(states)
			in.Rollout, due = fleet.Rollout(wanted.version, now)
			in.Sessions = fleet.SessionsByPeer()
			all, next := judge.Next(in, now)
			w.Set(all)
			for _, at := range []time.Time{due, next} {
				if !at.IsZero() {
					time.AfterFunc(at.Sub(now), l.worker.Wake)
				}
			}
		})
	})
	return l
}

// set replaces the verdicts.
func (l *resourceLoop) set(v verdicts) {
	l.mu.Lock()
	l.wanted = v
	l.mu.Unlock()
	l.worker.Wake()
}

// When an agent's report wakes a controller, that sees it.
func TestAgentStates(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, allPlurals...)
	var states *kube.AgentStates
	seen := make(chan []reconcile.AgentState, 100)
	states = kube.NewAgentStates(kube.AgentStatesOptions{Client: c, Namespace: "ns", Wake: func() {
		if all, read := states.States(); read {
			seen <- all
		}
	}})
	if _, read := states.States(); read {
		t.Error("read before it ran")
	}
	a.set("configurationstates", "controller", "", 1, `"status":{"configuration":"1"}`)
	a.holds("n2", "tor", "Connecting")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- states.Run(ctx) }()
	is := func(what string, want ...string) {
		t.Helper()
		var got []string
		for _, s := range <-seen {
			got = append(got, fmt.Sprintf("%s %s %v", s.Node, s.Version, s.Sessions[0].Up))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: who is woken sees %q, want %q", what, got, want)
		}
	}
	is("the list", "n2 1 false")
	a.holds("n1", "tor", "")
	is("a new one", "n1 1 true", "n2 1 false")
	before, _ := states.States()
	a.holds("n2", "tor", "")
	is("a change", "n1 1 true", "n2 1 true")
	if before[1].Sessions[0].Up {
		t.Error("what was given out has changed")
	}
	one, _ := states.States()
	if two, _ := states.States(); &one[0] != &two[0] {
		t.Error("without a change there is another slice")
	}
	a.delete("configurationstates", "speaker-n1")
	is("one is gone", "n2 1 true")
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if all, read := states.States(); read || len(all) > 0 {
		t.Errorf("after the end it knows %v", all)
	}
}
