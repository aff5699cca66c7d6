// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// startSite runs a Site on an address until the test ends.
func startSite(t *testing.T, address string, by Reviewer) {
	t.Helper()
	text := func(s string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s) })
	}
	s, err := NewSite(SiteOptions{
		Flags: flagsOf(t), Address: address, Files: text("file"), API: text("secret"), Permission: "/herald/page", Reviewer: by, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// On loopback the page is for who is on the machine, and for no web site that has itself
// found there.
func TestSiteLocal(t *testing.T) {
	address := freeAddress(t)
	startSite(t, address, &fakeReviewer{})
	_, port, _ := net.SplitHostPort(address)
	tests := []struct {
		name, host, site, path string
		want                   int
	}{
		{"the address", address, "", "/api/v1/topology", http.StatusOK},
		{"the name", "localhost:" + port, "same-origin", "/api/v1/topology", http.StatusOK},
		{"another port, forwarded", "127.0.0.1:9999", "none", "/api/v1/topology", http.StatusOK},
		{"IPv6", "[::1]:9999", "", "/api/v1/topology", http.StatusOK},
		{"a name that leads here", "evil.example:" + port, "", "/api/v1/topology", http.StatusForbidden},
		{"a name without a port", "evil.example", "", "/api/v1/why", http.StatusForbidden},
		{"another site's page", address, "cross-site", "/api/v1/changes", http.StatusForbidden},
		{"a file", "evil.example", "cross-site", "/app.js", http.StatusOK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			deadline := time.Now().Add(30 * time.Second)
			for {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+tt.path, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Host = tt.host
				if tt.site != "" {
					r.Header.Set("Sec-Fetch-Site", tt.site)
				}
				resp, err := client().Do(r)
				if err != nil && time.Now().Before(deadline) {
					time.Sleep(10 * time.Millisecond) // it does not listen yet
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != tt.want || tt.want == http.StatusForbidden && strings.Contains(string(body), "secret") {
					t.Errorf("%d %s, want %d", resp.StatusCode, body, tt.want)
				}
				return
			}
		})
	}
}

// Elsewhere the page needs TLS, and what is known of the cluster a token that may get the
// page: not one that may get the page's path, which every user of a cluster may.
func TestSiteElsewhere(t *testing.T) {
	_, port, _ := net.SplitHostPort(freeAddress(t))
	startSite(t, ":"+port, &fakeReviewer{})
	base := "https://127.0.0.1:" + port
	tests := []struct {
		name, url, token string
		want             int
	}{
		{"a file", base + "/app.js", "", http.StatusOK},
		{"no token", base + "/api/v1/topology", "", http.StatusUnauthorized},
		{"an unknown token", base + "/api/v1/topology", "Bearer nobody", http.StatusUnauthorized},
		{"not allowed", base + "/api/v1/topology", "Bearer stranger to /herald/page", http.StatusForbidden},
		{"allowed for the path alone", base + "/api/v1/topology", "Bearer stranger to /api/v1/topology", http.StatusUnauthorized},
		{"allowed", base + "/api/v1/topology", "Bearer reader", http.StatusOK},
		{"plain HTTP", "http://127.0.0.1:" + port + "/api/v1/topology", "Bearer reader", http.StatusUpgradeRequired},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			deadline := time.Now().Add(30 * time.Second)
			for {
				c, err := net.Dial("tcp", "127.0.0.1:"+port)
				if err == nil {
					c.Close()
					break
				}
				if time.Now().After(deadline) {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Millisecond)
			}
			if code, body := get(t, tt.url, "Authorization", tt.token); code != tt.want {
				t.Errorf("%d %s, want %d", code, body, tt.want)
			}
		})
	}
}

func TestSiteAddress(t *testing.T) {
	for address, loopback := range map[string]bool{
		"127.0.0.1:7474": true, "[::1]:7474": true, "localhost:7474": true, "127.8.8.8:1": true,
		":7474": false, "0.0.0.0:7474": false, "[::]:7474": false, "10.0.0.1:7474": false, "herald.example:7474": false,
	} {
		s, err := NewSite(SiteOptions{Flags: flagsOf(t), Address: address, API: http.NotFoundHandler(), Files: http.NotFoundHandler(), Logger: slog.New(slog.DiscardHandler)})
		if err != nil || (s.secure == nil) != loopback {
			t.Errorf("%s: loopback %v, want %v; %v", address, s.secure == nil, loopback, err)
		}
	}
	if _, err := NewSite(SiteOptions{Flags: flagsOf(t), Address: "7474"}); err == nil || !strings.Contains(err.Error(), `--page-address "7474": want`) {
		t.Errorf("a port alone: %v", err)
	}
}

// A daemon does without the page while something else has its port.
func TestSitePortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := NewSite(SiteOptions{Flags: flagsOf(t), Address: l.Addr().String(), API: http.NotFoundHandler(), Files: http.NotFoundHandler(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	select {
	case err := <-done:
		t.Errorf("it ends: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
