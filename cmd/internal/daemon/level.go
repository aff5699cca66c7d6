// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/status"
)

// levels are the values of --log-level.
var levels = map[string]slog.Level{
	"all": -100, "debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError, "none": 100,
}

// Signals that change the log level of a daemon that runs.
const (
	signalDebug = syscall.SIGUSR1 // debug
	signalReset = syscall.SIGUSR2 // what --log-level says
)

// Level returns the name of the log level at the moment.
func (f *Flags) Level() string {
	for name, l := range levels {
		if f.level != nil && f.level.Level() == l {
			return name
		}
	}
	return f.LogLevel
}

// LogLevels returns the task that changes the log level when a signal asks for it. From this
// call on no such signal ends the process. Who may send one may also end it: it takes root on
// the node, or the right to run programs in the container.
func (f *Flags) LogLevels(log *slog.Logger, journal *status.Journal) Task {
	signals := make(chan os.Signal, 8) // one that finds no room is lost
	signal.Notify(signals, signalDebug, signalReset)
	return Task{Name: "log level", Run: func(ctx context.Context) error {
		defer signal.Stop(signals)
		for {
			select {
			case <-ctx.Done():
				return nil
			case s := <-signals:
				f.setLevel(s, log, journal)
			}
		}
	}}
}

// names are those of the signals.
var names = map[os.Signal]string{signalDebug: "SIGUSR1", signalReset: "SIGUSR2"}

// setLevel changes the level as a signal says. The message is logged at either level.
func (f *Flags) setLevel(s os.Signal, log *slog.Logger, journal *status.Journal) {
	before, after := f.Level(), f.LogLevel
	if s == signalDebug {
		after = "debug"
	}
	if before == after {
		return
	}
	f.level.Set(min(levels[before], levels[after]))
	log.Warn("log level changed", "before", before, "after", after)
	f.level.Set(levels[after])
	journal.Add(status.Change{At: time.Now().Round(0), Kind: status.ChangeLogLevel, Subject: "log level", Before: before, After: after, Cause: names[s]})
}

// addLevelCommand adds to a daemon's command one that changes the log level of the daemon
// in the same container: its image has no other program.
func addLevelCommand(cmd *cobra.Command) {
	pid := 1
	sub := &cobra.Command{
		Use:   "log-level debug|default",
		Short: "Changes the log level of the daemon that runs: debug, or default, which is what its --log-level says",
		Args:  cobra.ExactArgs(1),
		RunE: func(sub *cobra.Command, args []string) error {
			s, ok := map[string]syscall.Signal{"debug": signalDebug, "default": signalReset}[args[0]]
			if !ok {
				return fmt.Errorf("log level %q: want debug or default", args[0])
			}
			return sendSignal(sub.OutOrStdout(), "/proc", pid, cmd.Name(), s)
		},
	}
	sub.Flags().IntVar(&pid, "pid", pid, "`number` of the daemon's process; in its container it is 1")
	cmd.AddCommand(sub)
	cmd.CompletionOptions.DisableDefaultCmd = true
}

// sendSignal sends a signal to the process of a program, and to no other.
func sendSignal(out io.Writer, proc string, pid int, program string, s syscall.Signal) error {
	line, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	path, _, _ := strings.Cut(string(line), "\x00")
	if filepath.Base(path) != program {
		return fmt.Errorf("process %d is not %s: name its process with --pid", pid, program)
	}
	if err := syscall.Kill(pid, s); err != nil {
		if errors.Is(err, syscall.EPERM) {
			return fmt.Errorf("process %d: %w: run this as the user of %s", pid, err, program)
		}
		return fmt.Errorf("process %d: %w", pid, err)
	}
	_, err = fmt.Fprintf(out, "sent to process %d; its log says what follows\n", pid)
	return err
}
