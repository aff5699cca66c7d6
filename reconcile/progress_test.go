// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/reconcile"
)

// A saying keeps what a StateWriter is told, without what is told again.
type saying struct{ all []reconcile.State }

func (s *saying) Set(state reconcile.State) {
	if len(s.all) == 0 || !s.all[len(s.all)-1].Equal(state) {
		s.all = append(s.all, state)
	}
}

func (s *saying) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w saying
		var frr reconcile.Running
		p := reconcile.NewProgress(reconcile.ProgressOptions{Writer: &w, FRR: func() reconcile.Running { return frr }})
		seen := 0
		step := func(what string, f func(), after time.Duration, want ...reconcile.State) {
			t.Helper()
			f()
			time.Sleep(after)
			synctest.Wait()
			if diff := cmp.Diff(want, append([]reconcile.State(nil), w.all[seen:]...)); diff != "" {
				t.Errorf("%s: what is said (-want +got):\n%s", what, diff)
			}
			seen = len(w.all)
		}
		wants := func(version string) func() {
			return func() {
				frr.Applied = false
				p.Set(reconcile.State{Known: true, Version: version})
			}
		}
		comes := func(r reconcile.Running) func() {
			return func() {
				frr = r
				p.Changed()
			}
		}
		down := reconcile.Running{Trouble: "bgpd of FRR does not answer"}
		refused := reconcile.Running{Trouble: "line 7"}

		p.Changed() // before there is anything to say
		step("FRR has not answered yet", wants("1"), time.Minute, reconcile.State{Known: true})
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
		step("the end", func() {
			ctx, stop := context.WithCancel(t.Context())
			stop()
			if err := p.Run(ctx); err != nil {
				t.Error(err)
			}
		}, time.Minute)
	})
}
