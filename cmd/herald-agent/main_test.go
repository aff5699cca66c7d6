// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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
