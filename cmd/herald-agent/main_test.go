// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/status"
)

func noEnv(string) string { return "" }

func TestMisuse(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"no node", nil, "--node-name or METALLB_NODE_NAME is required"},
		{"a flag that does not exist", []string{"--no-such-flag"}, "unknown flag: --no-such-flag"},
		{"an argument", []string{"extra"}, "unknown command"},
		{"a log level that does not exist", []string{"--node-name=n1", "--log-level=loud"}, `--log-level "loud"`},
		{"a liveness that does not exist", []string{"--node-name=n1", "--l2-liveness=now"}, `--l2-liveness: liveness profile "now"`},
		{"a conflict policy that does not exist", []string{"--node-name=n1", "--l2-conflict=fight"}, `--l2-conflict: conflict policy "fight"`},
		{"a kubeconfig that does not exist", []string{"--node-name=n1", "--kubeconfig=no/such/file"}, "no/such/file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			if code := run(t.Context(), tt.args, noEnv, &out); code != 1 {
				t.Errorf("exit status %d, want 1", code)
			}
			if !strings.HasPrefix(out.String(), "herald-agent: ") || !strings.Contains(out.String(), tt.want) {
				t.Errorf("the output is %q, want %q in it", out.String(), tt.want)
			}
		})
	}
}

// Without FRR and without an API server the agent runs, says so, and ends when
// it is told to.
func TestAlone(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "down", http.StatusServiceUnavailable)
	}))
	defer api.Close()
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	err := os.WriteFile(kubeconfig, fmt.Appendf(nil, `
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q}}]
contexts: [{name: c, context: {cluster: c}}]
current-context: c
`, api.URL), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(l.Addr().String())
	l.Close()

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan int)
	go func() {
		done <- run(ctx, []string{
			"--node-name=n1", "--kubeconfig=" + kubeconfig,
			"--frr-dir=" + dir, "--frr-conf=" + filepath.Join(dir, "frr.conf"),
			"--bind-address=127.0.0.1", fmt.Sprintf("--port=%d", addr.Port()),
		}, noEnv, t.Output())
	}()
	deadline := time.Now().Add(10 * time.Second)
	for {
		resp, err := http.Get("http://" + addr.String() + "/readyz")
		if err == nil {
			page, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(page), "not synced") {
				t.Errorf("/readyz is %s: %s", resp.Status, page)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not served in 10 s: %v", err)
		}
	}
	stop()
	select {
	case code := <-done:
		if code != 0 {
			t.Errorf("exit status %d", code)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("still running 10 s after it was to end")
	}
	if _, err := os.Stat(filepath.Join(dir, "frr.conf")); err == nil {
		t.Error("frr.conf was written before anything was known")
	}
}

// A fakeReader answers with one list after the other.
type fakeReader struct{ answers [][]frr.Session }

func (f *fakeReader) Sessions(context.Context) ([]frr.Session, error) {
	answer := f.answers[0]
	f.answers = f.answers[1:]
	return answer, nil
}

func (*fakeReader) Close() error { return nil }

func TestSessions(t *testing.T) {
	peer := netip.MustParseAddr("10.0.0.1")
	up := frr.Session{Peer: status.PeerID{Address: peer}, State: "Established", Up: true, Uptime: time.Minute, PrefixesSent: 3, BFD: &frr.BFD{Status: "up"}}
	down := frr.Session{Peer: status.PeerID{Address: peer}, State: "Active", Dropped: 1, LastError: "Hold Timer Expired"}
	var log strings.Builder
	changes := 0
	s := newSessions(&fakeReader{[][]frr.Session{nil, {down}, {up}, {up}, {down}, {up}, nil}}, func() { changes++ },
		slog.New(slog.NewTextHandler(&log, nil)))
	peers := []status.Peer{
		{Name: "a", Address: peer, Wanted: true},
		{Name: "b", Address: peer},
		{Name: "c", Address: netip.MustParseAddr("10.0.0.2"), Wanted: true},
	}
	var states []status.SessionState
	for range 7 {
		s.ask(t.Context())
		got := s.in(peers)
		states = append(states, got[0].Session.State)
		if got[1].Session != (status.Session{}) || got[2].Session != (status.Session{}) {
			t.Errorf("sessions of peers that FRR does not have: %+v", got)
		}
	}
	if diff := cmp.Diff([]status.SessionState{"", "Active", "Established", "Established", "Active", "Established", ""}, states); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	var messages []string
	for line := range strings.Lines(log.String()) {
		_, message, _ := strings.Cut(strings.TrimSpace(line), "msg=")
		messages = append(messages, message)
	}
	want := []string{
		`"session up" peer=10.0.0.1`,
		`"session down" peer=10.0.0.1 reason="Hold Timer Expired"`,
		`"session up" peer=10.0.0.1`,
		`"session gone" peer=10.0.0.1`,
	}
	if diff := cmp.Diff(want, messages); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	if peers[0].Session != (status.Session{}) {
		t.Error("the peers that were passed changed")
	}
	if changes != 4 {
		t.Errorf("told of %d changes, want 4", changes)
	}
}
