// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/lab/process"
)

func TestProcessOutput(t *testing.T) {
	var log bytes.Buffer
	file := filepath.Join(t.TempDir(), "log")
	p, err := process.Start(t.Context(), process.Options{
		Name:    "talker",
		Path:    "sh",
		Args:    []string{"-c", "echo $WORD; echo $WORD again >&2; exit 3"},
		Env:     []string{"WORD=hello"},
		LogFile: file,
		Log:     &log,
	})
	if err != nil {
		t.Fatal(err)
	}
	err = p.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("got %v, want exit status 3", err)
	}
	if want := "talker ended: exit status 3\n\thello\n\thello again"; err.Error() != want {
		t.Errorf("got error %q, want %q", err, want)
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{"log": log.String(), "log file": string(written)} {
		if want := "hello\nhello again\n"; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestProcessMissing(t *testing.T) {
	_, err := process.Start(t.Context(), process.Options{Path: "/nowhere/program"})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want %v", err, os.ErrNotExist)
	}
}

// TestProcessEndsWithParent kills a process that started a program in another
// network namespace.
func TestProcessEndsWithParent(t *testing.T) {
	const variable = "LAB_TEST_SLEEPER"
	if file := os.Getenv(variable); file != "" {
		startSleeper(t, file)
		return
	}
	lab.Need(t, "ip")
	ns := fmt.Sprintf("hp%d", os.Getpid())
	if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
		t.Fatalf("add namespace: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", ns).CombinedOutput(); err != nil {
			t.Errorf("delete namespace: %v: %s", err, out)
		}
	})
	file := filepath.Join(t.TempDir(), ns)
	parent := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	parent.Env = append(os.Environ(), variable+"="+file)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	pid := readPID(t, file)
	e2e.Eventually(t, "the program runs", func() error {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err == nil && string(name) != "sleep\n" {
			err = fmt.Errorf("it is %q", name) // still on its way into the namespace
		}
		return err
	})
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed
	awaitEnd(t, pid)
}

// startSleeper starts a program in the namespace that the file is named after,
// writes its process number to the file, and waits.
func startSleeper(t *testing.T, file string) {
	t.Helper()
	p, err := process.Start(t.Context(), process.Options{
		Path:      "sleep",
		Args:      []string{"600"},
		Namespace: filepath.Base(file),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".new", []byte(strconv.Itoa(p.PID())), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	t.Fatal(p.Wait())
}

// TestProcessStop ends a program that has a child, in each of the ways there are.
func TestProcessStop(t *testing.T) {
	tests := []struct {
		name string
		trap string // what the program does with SIGTERM
		stop func(p *process.Process, cancel context.CancelFunc)
	}{
		{"asked", "exit 0", func(p *process.Process, _ context.CancelFunc) { p.Stop() }},
		{"context done", "exit 0", func(p *process.Process, cancel context.CancelFunc) { cancel(); <-p.Done() }},
		{"killed", "", func(p *process.Process, _ context.CancelFunc) { _ = p.Kill(unix.SIGKILL); <-p.Done() }},
		{"refuses", "", func(p *process.Process, _ context.CancelFunc) { p.Stop() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			child := filepath.Join(t.TempDir(), "child")
			p, err := process.Start(ctx, process.Options{
				Path: "sh",
				Args: []string{"-c", `trap "$1" TERM; (trap "" TERM; exec sleep 600) & echo $! >$0.new; mv $0.new $0; while :; do wait; done`, child, tt.trap},
			})
			if err != nil {
				t.Fatal(err)
			}
			pid := readPID(t, child)
			start := time.Now()
			tt.stop(p, cancel)
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("stopping took %v", took)
			}
			awaitEnd(t, pid)
			if err := p.Kill(unix.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
				t.Errorf("signal afterwards: got %v, want %v", err, os.ErrProcessDone)
			}
			p.Stop() // again
		})
	}
}

// readPID waits for a file with a process number.
func readPID(t *testing.T, file string) (pid int) {
	t.Helper()
	e2e.Eventually(t, file+" is written", func() error {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err
	})
	return pid
}

// awaitEnd waits until a process that is nobody's child has ended.
func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	e2e.Eventually(t, "the process has ended", func() error {
		if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("signal it: got %v, want %v", err, unix.ESRCH)
		}
		return nil
	})
}
