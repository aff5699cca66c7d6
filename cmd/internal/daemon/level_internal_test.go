// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/heraldlb/herald/status"
)

// A signal makes a daemon that runs talk, and another one makes it as quiet as --log-level
// says. Its log, journal and report say so, whatever the level is.
func TestLogLevels(t *testing.T) {
	for level, hidden := range map[string]string{"info": "debug", "none": "error", "debug": ""} {
		t.Run(level, func(t *testing.T) {
			var out bytes.Buffer
			f := &Flags{LogLevel: level, LogFormat: "text"}
			log, err := f.Logger(&out)
			if err != nil {
				t.Fatal(err)
			}
			journal := &status.Journal{}
			task := f.LogLevels(log, journal)
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- task.Run(ctx) }()
			send := func(s syscall.Signal, want string) {
				t.Helper()
				if err := syscall.Kill(os.Getpid(), s); err != nil {
					t.Fatal(err)
				}
				for deadline := time.Now().Add(time.Minute); f.Level() != want; time.Sleep(time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatalf("the level is %s, want %s", f.Level(), want)
					}
				}
			}
			if f.Level() != level {
				t.Errorf("it begins with %s", f.Level())
			}
			send(syscall.SIGUSR1, "debug")
			send(syscall.SIGUSR1, "debug")
			send(syscall.SIGUSR2, level)
			stop()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			log.Debug("debug")
			log.Error("error")
			if hidden != "" && strings.Contains(out.String(), "msg="+hidden+"\n") {
				t.Errorf("at level %s the log has\n%s", level, out.String())
			}
			changes := journal.List()
			if level == "debug" {
				if len(changes) > 0 {
					t.Errorf("changes %+v", changes)
				}
				return
			}
			if len(changes) != 2 || changes[0].Before != "debug" || changes[0].After != level || changes[1].Before != level || changes[1].After != "debug" {
				t.Errorf("changes %+v", changes)
			}
			if n := strings.Count(out.String(), "log level changed"); n != 2 {
				t.Errorf("%d messages in\n%s", n, out.String())
			}
		})
	}
}

// The command of a container sends the signal to the daemon, and to nothing else.
func TestSendSignal(t *testing.T) {
	proc := t.TempDir()
	pid := os.Getpid()
	dir := filepath.Join(proc, strconv.Itoa(pid))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	is := func(line string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "cmdline"), []byte(line), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	is("/pause\x00")
	if err := sendSignal(&out, proc, pid, "herald-agent", syscall.SIGUSR1); err == nil || !strings.Contains(err.Error(), "is not herald-agent: name its process with --pid") {
		t.Errorf("another program: %v", err)
	}
	if err := sendSignal(&out, proc, pid+1, "herald-agent", syscall.SIGUSR1); err == nil {
		t.Error("no program")
	}
	f := &Flags{LogLevel: "info", LogFormat: "text"}
	log, err := f.Logger(&out)
	if err != nil {
		t.Fatal(err)
	}
	task := f.LogLevels(log, nil)
	is("/herald-agent\x00--log-level=info\x00")
	if err := sendSignal(&out, proc, pid, "herald-agent", syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- task.Run(ctx) }()
	for deadline := time.Now().Add(time.Minute); f.Level() != "debug"; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not arrive")
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Every daemon says which version it is, and takes no other words than those of the command
// for the log level.
func TestCommand(t *testing.T) {
	run := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		cmd := Command("herald-test", "Tests.", func(context.Context) error { return nil })
		cmd.SetOut(&out)
		return Execute(t.Context(), cmd, args, &errs), out.String(), errs.String()
	}
	if code, out, errs := run("--version"); code != 0 || out != "herald-test version "+Version()+"\n" || errs != "" {
		t.Errorf("--version: %d, %q, %q", code, out, errs)
	}
	if code, _, errs := run("log-level", "loud"); code != 1 || !strings.Contains(errs, `log level "loud": want debug or default`) {
		t.Errorf("a level that there is not: %d, %q", code, errs)
	}
	if code, _, errs := run("surprise"); code != 1 || !strings.Contains(errs, "unknown command") {
		t.Errorf("an unknown word: %d, %q", code, errs)
	}
	if code, _, errs := run(); code != 0 || errs != "" {
		t.Errorf("without arguments: %d, %q", code, errs)
	}
}
