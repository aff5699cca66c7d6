// SPDX-License-Identifier: Apache-2.0

package node

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/frr/contract"
)

// An agent that stops holds FRR's sessions while no other node announces some of its
// routes, and releases them then.
func TestLeaveRoutes(t *testing.T) {
	type report struct {
		at    time.Duration
		alone int
	}
	for _, tt := range []struct {
		name    string
		reports []report
		took    time.Duration
		last    bool // the sessions are held before the end
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
				l := &Layer2{departure: newDeparture()}
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
				l.departure.awaitRoutes(t.Context(), holder(dir), slog.New(slog.DiscardHandler))
				if took := time.Since(start); took != tt.took {
					t.Errorf("it took %v, want %v", took, tt.took)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if last != tt.last || exists(dir) {
					t.Errorf("FRR is held: %v, want %v; in the end: %v", last, tt.last, exists(dir))
				}
			})
		})
	}
}

// A holder holds FRR by a file in a directory.
type holder string

func (h holder) Hold() error    { return contract.BeatLast(string(h)) }
func (h holder) Release() error { return contract.EndLast(string(h)) }

// exists reports whether FRR is held. The file's time is of the kernel's clock.
func exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, contract.LastFile))
	return err == nil
}
