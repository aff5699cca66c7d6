// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Areas run together, but for one that wants to be alone: it waits for all others, or
// until its patience ends.
func TestTakeTurn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "run/areas.lock")
	take := func(how int, patience time.Duration) *os.File {
		t.Helper()
		turn, err := takeTurn(file, how, patience)
		if err != nil {
			t.Fatal(err)
		}
		return turn
	}
	first, second := take(unix.LOCK_SH, time.Minute), take(unix.LOCK_SH, time.Minute)
	alone := make(chan *os.File)
	go func() { alone <- take(unix.LOCK_EX, time.Minute) }()
	first.Close()
	select {
	case <-alone:
		t.Fatal("an area that wants to be alone runs with another")
	case <-time.After(300 * time.Millisecond):
	}
	second.Close()
	last := <-alone
	start := time.Now()
	take(unix.LOCK_SH, 200*time.Millisecond).Close()
	if took := time.Since(start); took < 200*time.Millisecond {
		t.Errorf("an area began %v after one that is alone", took)
	}
	last.Close()
}
