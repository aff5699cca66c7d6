// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/frr/contract"
)

// An agent that stops tells FRR that no other node announces some of its routes, until
// others do, and then takes it back.
func TestLeaveRoutes(t *testing.T) {
	type report struct {
		at    time.Duration
		alone int
	}
	for _, tt := range []struct {
		name    string
		reports []report
		took    time.Duration
		last    bool // half a second before the end FRR is told so
	}{
		{"nothing is decided", nil, time.Second, false},
		{"others announce all", []report{{0, 0}}, 0, false},
		{"others answer at once", []report{{0, 7}, {10 * time.Millisecond, 0}}, 10 * time.Millisecond, true},
		{"others are late", []report{{0, 7}, {5 * time.Second, 2}, {8 * time.Second, 0}}, 8 * time.Second, true},
		{"others never do", []report{{0, 7}}, 15 * time.Second, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				l := &layer2{log: slog.New(slog.DiscardHandler), alone: make(chan int, 1)}
				start := time.Now()
				last := false
				go func() {
					for _, r := range tt.reports {
						time.Sleep(time.Until(start.Add(r.at)))
						synctest.Wait()
						last = last || exists(dir)
						l.Alone(r.alone)
					}
					time.Sleep(time.Until(start.Add(14 * time.Second)))
					last = last || exists(dir)
				}()
				l.leaveRoutes(t.Context(), l.alone, dir)
				if took := time.Since(start); took != tt.took {
					t.Errorf("it took %v, want %v", took, tt.took)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if last != tt.last || exists(dir) {
					t.Errorf("FRR was told: %v, want %v; in the end: %v", last, tt.last, exists(dir))
				}
			})
		})
	}
}

// exists reports whether FRR is told that routes are announced here alone. The file's
// time is of the kernel's clock.
func exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, contract.LastFile))
	return err == nil
}
