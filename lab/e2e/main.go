// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/lab"
)

const (
	// turnFile is what areas lock: shared, or, those that measure time, alone.
	turnFile = "/run/herald-lab/areas.lock"

	// turnPatience is how long an area waits to be alone. It goes on after that: its
	// limits leave room for a busy machine.
	turnPatience = 10 * time.Minute
)

// Main runs the tests of an area and takes down what they started. It does not
// return.
func Main(m *testing.M) { os.Exit(run(m, unix.LOCK_SH)) }

// Alone is Main for an area that measures time. It runs when no other area does:
// failures are detected within fractions of a second, and other areas start
// control planes and link test programs meanwhile.
func Alone(m *testing.M) { os.Exit(run(m, unix.LOCK_EX)) }

func run(m *testing.M, how int) int {
	lab.Reexec()
	flag.Parse()
	if flag.Lookup("test.list").Value.String() != "" {
		return m.Run()
	}
	if os.Geteuid() == 0 && !lab.Attached() { // others can only skip
		turn, err := takeTurn(turnFile, how, turnPatience)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer turn.Close()
	}
	code := m.Run()
	if err := stop(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	return code
}

// takeTurn waits until this area may run, and holds the lock until the file is
// closed or this process ends. It goes on without the lock when its patience ends.
func takeTurn(name string, how int, patience time.Duration) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, fmt.Errorf("wait for other areas: %w", err)
	}
	turn, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("wait for other areas: %w", err)
	}
	for start := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		err := unix.Flock(int(turn.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return turn, nil
		}
		if err != unix.EWOULDBLOCK {
			turn.Close()
			return nil, fmt.Errorf("wait for other areas: lock %s: %w", name, err)
		}
		if time.Since(start) > patience {
			fmt.Fprintf(os.Stderr, "lab: other areas still run after %v; this one starts too\n", patience)
			return turn, nil
		}
	}
}
