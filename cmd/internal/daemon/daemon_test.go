// SPDX-License-Identifier: Apache-2.0

package daemon_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/cmd/internal/daemon"
)

func TestRun(t *testing.T) {
	wait := daemon.Task{Name: "waiter", Run: func(ctx context.Context) error {
		<-ctx.Done()
		return nil
	}}
	bad := errors.New("bad")
	fail := daemon.Task{Name: "loser", Run: func(context.Context) error { return bad }}

	err := daemon.Run(t.Context(), wait, fail)
	if !errors.Is(err, bad) || err.Error() != "loser: bad" {
		t.Errorf("a task fails: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := daemon.Run(ctx, wait, wait); err != nil {
		t.Errorf("canceled: %v", err)
	}
}

// parse returns the flags that a command line and an environment make.
func parse(t *testing.T, env map[string]string, args ...string) (daemon.Flags, error) {
	t.Helper()
	var f daemon.Flags
	cmd := &cobra.Command{Use: "test", SilenceUsage: true, SilenceErrors: true, Run: func(*cobra.Command, []string) {}}
	f.Add(cmd, func(name string) string { return env[name] })
	daemon.Accept(cmd, "webhook-mode", "disable-cert-rotation")
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	f.Complete()
	return f, err
}

func TestFlags(t *testing.T) {
	metallb := map[string]string{"METALLB_NAMESPACE": "lb", "METALLB_HOST": "192.0.2.1"}
	tests := []struct {
		name      string
		env       map[string]string
		args      []string
		namespace string
		address   string
	}{
		{"nothing", nil, nil, "metallb-system", ":7472"},
		{"environment", metallb, nil, "lb", "192.0.2.1:7472"},
		{"flags go first", metallb, []string{"--namespace=x", "--bind-address=::1", "--port=9"}, "x", "[::1]:9"},
		{"no port", nil, []string{"--port=0"}, "metallb-system", ""},
		{"flags of MetalLB's", nil, []string{"--webhook-mode=disabled", "--disable-cert-rotation"}, "metallb-system", ":7472"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := parse(t, tt.env, tt.args...)
			if err != nil {
				t.Fatal(err)
			}
			if f.Namespace != tt.namespace || f.HTTPAddress() != tt.address {
				t.Errorf("namespace %q and address %q, want %q and %q", f.Namespace, f.HTTPAddress(), tt.namespace, tt.address)
			}
		})
	}
	if _, err := parse(t, nil, "--no-such-flag"); err == nil {
		t.Error("an unknown flag is accepted")
	}
}

func TestLogger(t *testing.T) {
	tests := []struct {
		level string
		want  string // the messages that pass
	}{
		{"all", "trace debug info warn error"},
		{"debug", "debug info warn error"},
		{"info", "info warn error"},
		{"warn", "warn error"},
		{"error", "error"},
		{"none", ""},
	}
	for _, tt := range tests {
		t.Run(tt.level, func(t *testing.T) {
			var out strings.Builder
			log, err := (&daemon.Flags{LogLevel: tt.level, LogFormat: "text"}).Logger(&out)
			if err != nil {
				t.Fatal(err)
			}
			log.Log(t.Context(), slog.LevelDebug-4, "trace")
			log.Debug("debug")
			log.Info("info")
			log.Warn("warn")
			log.Error("error")
			var got []string
			for line := range strings.Lines(out.String()) {
				_, message, _ := strings.Cut(strings.TrimSpace(line), "msg=")
				got = append(got, message)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("passed: %v, want %s", got, tt.want)
			}
		})
	}
	for _, f := range []daemon.Flags{{LogLevel: "loud", LogFormat: "text"}, {LogLevel: "info", LogFormat: "xml"}} {
		if _, err := f.Logger(io.Discard); err == nil {
			t.Errorf("level %q and format %q are accepted", f.LogLevel, f.LogFormat)
		}
	}
}
