// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/reconcile"
)

// A saying keeps what a StateWriter is told, without what is told again, and plays
// FRR.
type saying struct {
	mu   sync.Mutex // guards the fields below
	news []reconcile.State
	last *reconcile.State
	frr  reconcile.Running
}

func (s *saying) Set(state reconcile.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil || !s.last.Equal(state) {
		s.news = append(s.news, state)
	}
	s.last = &state
}

func (s *saying) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// take returns what is new.
func (s *saying) take() []reconcile.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.news
	s.news = nil
	return out
}

func (s *saying) running() reconcile.Running {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frr
}

func (s *saying) runs(r reconcile.Running) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frr = r
}

func TestAppliedState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w saying
		p := reconcile.NewAppliedState(reconcile.AppliedStateOptions{Writer: &w, FRR: w.running})
		step := func(what string, f func(), after time.Duration, want ...reconcile.State) {
			t.Helper()
			f()
			time.Sleep(after)
			synctest.Wait()
			if diff := cmp.Diff(want, w.take()); diff != "" {
				t.Errorf("%s: what is said (-want +got):\n%s", what, diff)
			}
		}
		wants := func(version string) func() {
			return func() {
				w.runs(reconcile.Running{Trouble: w.running().Trouble}) // as before
				p.Set(reconcile.State{Known: true, Version: version})
			}
		}
		comes := func(r reconcile.Running) func() {
			return func() {
				w.runs(r)
				p.Changed()
			}
		}
		down := reconcile.Running{Trouble: "FRR does not answer: bgpd"}
		refused := reconcile.Running{Trouble: "line 7"}

		p.Changed() // before there is anything to say
		none := reconcile.State{Errors: []string{"config: line 2"}}
		step("there is no configuration", func() { p.Set(none) }, 0, none)
		step("FRR has not answered yet", wants("1"), time.Minute)
		step("it has", comes(reconcile.Running{Applied: true}), 0, reconcile.State{Known: true, Version: "1"})
		step("the same again", func() { p.Set(reconcile.State{Known: true, Version: "1"}) }, time.Minute)
		step("FRR restarts", comes(down), 4*time.Second)
		step("and is there again", comes(reconcile.Running{Applied: true}), time.Minute)
		step("a new version", wants("2"), 0)
		step("is refused", comes(refused), 4*time.Second)
		step("for long", func() {}, 2*time.Second, reconcile.State{Known: true, Version: "1", Failed: "2", Failure: "line 7"})
		step("a newer version is refused, too", wants("3"), 4*time.Second)
		step("for long", func() {}, 2*time.Second, reconcile.State{Known: true, Version: "1", Failed: "3", Failure: "line 7"})
		step("a newer version is in force", func() { wants("4")(); comes(reconcile.Running{Applied: true})() }, 0,
			reconcile.State{Known: true, Version: "4"})
		step("a version that FRR is not told of", func() {
			p.Set(reconcile.State{Known: true, Version: "5", Failure: "no AS number"})
		}, 6*time.Second, reconcile.State{Known: true, Version: "4", Failed: "5", Failure: "no AS number"})
		p = reconcile.NewAppliedState(reconcile.AppliedStateOptions{Writer: &w, FRR: w.running})
		step("a new agent", wants("5"), 0)
		step("whose FRR does not come up", comes(down), 6*time.Second, reconcile.State{Known: true, Failed: "5", Failure: down.Trouble})
		down1 := []cluster.SessionState{{Peer: "tor", Reason: "NoAnswer"}}
		failed := reconcile.State{Known: true, Failed: "5", Failure: down.Trouble, Sessions: down1}
		step("sessions", func() { p.SetSessions(down1) }, 0, failed)
		step("the same again", func() { p.SetSessions([]cluster.SessionState{{Peer: "tor", Reason: "NoAnswer"}}) }, 0)
		applied := reconcile.State{Known: true, Version: "5", Sessions: down1}
		step("FRR comes up", comes(reconcile.Running{Applied: true}), 0, applied)
		applied.Sessions = []cluster.SessionState{}
		step("no sessions are wanted", func() { p.SetSessions(applied.Sessions) }, 0, applied)
		step("the end", func() {
			ctx, stop := context.WithCancel(t.Context())
			stop()
			if err := p.Run(ctx); err != nil {
				t.Error(err)
			}
		}, time.Minute)
	})
}
