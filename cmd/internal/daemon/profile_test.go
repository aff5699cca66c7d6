// SPDX-License-Identifier: Apache-2.0

package daemon_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/cmd/internal/daemon"
)

// free returns a port of the loopback interface that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestProfiles(t *testing.T) {
	f, err := parse(t, nil, "--pprof="+free(t))
	if err != nil {
		t.Fatal(err)
	}
	task, err := f.Profiles(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- task.Run(ctx) }()
	for path, want := range map[string]int{
		"/debug/pprof/heap?debug=1": http.StatusOK, "/debug/pprof/": http.StatusOK, "/metrics": http.StatusNotFound,
	} {
		status, page := get(t, "http://"+f.Pprof+path)
		if status != want || strings.Contains(path, "heap") && !strings.Contains(page, "heap profile:") {
			t.Errorf("%s: status %d, want %d:\n%.200s", path, status, want, page)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("canceled: %v", err)
	}
}

// get fetches a page of a server that is about to listen.
func get(t *testing.T, url string) (status int, page string) {
	t.Helper()
	var err error
	for range 100 {
		var resp *http.Response
		if resp, err = http.Get(url); err == nil {
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode, string(b)
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal(err)
	return 0, ""
}

// Others than programs of the same machine or pod cannot ask for profiles.
func TestProfilesOnLoopback(t *testing.T) {
	for _, at := range []string{":6060", "0.0.0.0:6060", "192.0.2.1:6060", "localhost:6060", "127.0.0.1", "[::]:6060"} {
		_, err := (&daemon.Flags{Pprof: at}).Profiles(slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), "--pprof") {
			t.Errorf("%q: %v", at, err)
		}
	}
	for _, at := range []string{"", "127.0.0.1:0", "[::1]:6060"} {
		if _, err := (&daemon.Flags{Pprof: at}).Profiles(slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("%q: %v", at, err)
		}
	}
}
