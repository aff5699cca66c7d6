// SPDX-License-Identifier: Apache-2.0

package sidecar

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/heraldlb/herald/lab/need"
)

// newTestMachine returns a Machine that runs programs as this process does.
func newTestMachine(t *testing.T) (*Machine, *strings.Builder) {
	t.Helper()
	var out strings.Builder
	m, err := NewMachine("", &out)
	if err != nil {
		t.Fatal(err)
	}
	if g := m.Group(); g >= 0 {
		t.Errorf("the group of this process's own files is %d", g)
	}
	return m, &out
}

func TestMachineOutput(t *testing.T) {
	m, _ := newTestMachine(t)
	const noise = "vtysh_pam: Failed in account validation: Authentication failure(7)"
	tests := []struct {
		name, script, want, err string
	}{
		{"it succeeds", "echo ' a line '; echo complaint >&2", "a line", ""},
		{"it fails", "echo a line; echo complaint >&2; echo '" + noise + "' >&2; exit 2", "a line\ncomplaint", "exit status 2"},
		{"no pager, no history", `echo "$VTYSH_PAGER $VTYSH_HISTFILE $PWD"`, "cat /dev/null /", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := m.Output(t.Context(), "/bin/sh", "-c", tt.script)
			var end string
			if err != nil {
				end = err.Error()
			}
			if out != tt.want || end != tt.err {
				t.Errorf("%q and %q, want %q and %q", out, end, tt.want, tt.err)
			}
		})
	}
	if _, err := m.Output(t.Context(), "/no/such/program"); err == nil {
		t.Error("a program that does not exist is no error")
	}
}

// A program that runs for too long ends with its descendants.
func TestMachineOutputEnds(t *testing.T) {
	m, _ := newTestMachine(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	out, err := m.Output(ctx, "/bin/sh", "-c", "echo begun; sleep 60 & wait")
	if !errors.Is(err, context.DeadlineExceeded) || out != "begun" {
		t.Errorf("%q, %v", out, err)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("it took %v to end", took)
	}
}

func TestMachineStart(t *testing.T) {
	m, out := newTestMachine(t)
	if _, err := m.Start("/no/such/daemon"); err == nil {
		t.Error("a daemon that does not exist is no error")
	}
	p, err := m.Start("/bin/sh", "-c", "echo up; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err == nil || err.Error() != "exit status 3" || out.String() != "up\n" {
		t.Errorf("it ended by %v and printed %q", err, out.String())
	}
	if p, err = m.Start("/bin/sleep", "60"); err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := p.Wait(); err == nil || err.Error() != "signal: terminated" {
		t.Errorf("it ended by %v", err)
	}
	if err := p.Signal(syscall.SIGTERM); err == nil {
		t.Error("a signal to a process that has ended is no error")
	}
}

func TestMachineUser(t *testing.T) {
	need.Root(t) // only root runs programs as another user
	if _, err := NewMachine("no-such-user", nil); err == nil {
		t.Error("a user that does not exist is no error")
	}
}
