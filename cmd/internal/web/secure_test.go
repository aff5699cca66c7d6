// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/cmd/internal/daemon"
)

// fakeReviewer knows two tokens.
type fakeReviewer struct {
	asked atomic.Int64
	err   error
}

func (f *fakeReviewer) Review(_ context.Context, token, path string) (known, allowed bool, err error) {
	f.asked.Add(1)
	if f.err != nil {
		return false, false, f.err
	}
	return token == "reader" || token == "stranger to "+path, token == "reader", nil
}

func TestSecure(t *testing.T) {
	var made atomic.Int64
	by := &fakeReviewer{}
	address, _ := start(t, Options{Flags: flagsOf(t, "--secure-metrics"), Handler: handler(4, &made), Reviewer: by})
	tests := []struct {
		name, url, header, token string
		want                     int
	}{
		{"a probe in plain HTTP", "http://" + address + "/healthz", "", "", http.StatusOK},
		{"a probe over TLS", "https://" + address + "/healthz", "", "", http.StatusOK},
		{"plain HTTP", "http://" + address + "/status", "Authorization", "Bearer reader", http.StatusUpgradeRequired},
		{"no token", "https://" + address + "/status", "", "", http.StatusUnauthorized},
		{"an unknown token", "https://" + address + "/status", "Authorization", "Bearer nobody", http.StatusUnauthorized},
		{"no bearer", "https://" + address + "/status", "Authorization", "Basic reader", http.StatusUnauthorized},
		{"not allowed", "https://" + address + "/status", "Authorization", "Bearer stranger to /status", http.StatusForbidden},
		{"allowed", "https://" + address + "/status", "Authorization", "Bearer reader", http.StatusOK},
		{"allowed, through the API server", "https://" + address + "/status", TokenHeader, "Bearer reader", http.StatusOK},
		{"no page", "https://" + address + "/debug/vars", "Authorization", "Bearer reader", http.StatusNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if code, body := get(t, tt.url, tt.header, tt.token); code != tt.want {
				t.Errorf("%d %s, want %d", code, body, tt.want)
			}
		})
	}
	if n := made.Load(); n != 2 {
		t.Errorf("the page was made %d times, want 2: only for who may read it", n)
	}
	// Who is silent holds up nobody, before TLS begins and in the middle of it.
	for _, begin := range []string{"", "\x16\x03\x01"} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte(begin)); err != nil {
			t.Fatal(err)
		}
		if code, body := get(t, "https://"+address+"/healthz", "", ""); code != http.StatusOK {
			t.Errorf("a probe beside who is silent: %d %s", code, body)
		}
	}
	if _, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("TLS 1.2 is taken without being asked for")
	}
}

func TestFlags(t *testing.T) {
	tests := []struct {
		args   []string
		secure bool
		err    string // part of it
	}{
		{nil, false, ""},
		{[]string{"--secure-metrics"}, true, ""},
		{[]string{"--tls-min-version=VersionTLS12", "--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"}, true, ""},
		{[]string{"--tls-curve-preferences=4588,29"}, true, ""},
		{[]string{"--metrics-cert-dir=/x"}, true, ""},
		{[]string{"--metrics-cert-dir=/x", "--secure-metrics=false"}, false, ""},
		{[]string{"--tls-min-version=VersionTLS10"}, true, `--tls-min-version "VersionTLS10": want VersionTLS12 or VersionTLS13`},
		{[]string{"--tls-cipher-suites=TLS_RSA_WITH_RC4_128_SHA"}, true, `--tls-cipher-suites: "TLS_RSA_WITH_RC4_128_SHA" is not among the secure`},
		{[]string{"--tls-curve-preferences=1"}, true, `--tls-curve-preferences: "1": want numbers among`},
	}
	for _, tt := range tests {
		f := flagsOf(t, tt.args...)
		c, err := f.config()
		if err != nil && tt.err == "" || err == nil && tt.err != "" || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%v: %v, want %q", tt.args, err, tt.err)
		}
		if f.wantsTLS() != tt.secure {
			t.Errorf("%v: TLS %v, want %v", tt.args, f.wantsTLS(), tt.secure)
		}
		if err == nil && len(tt.args) > 1 && strings.Contains(tt.args[1], "suites") && (len(c.CipherSuites) != 2 || c.MinVersion != tls.VersionTLS12) {
			t.Errorf("%v: %+v", tt.args, c)
		}
	}
	if _, err := New(Options{Flags: flagsOf(t, "--metrics-cert-dir="+t.TempDir()), Handler: http.NotFoundHandler(), Logger: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("a folder without a certificate is no error")
	}
}

// writePair writes a certificate into a folder and returns its serial number.
func writePair(t *testing.T, dir string) string {
	t.Helper()
	c, err := selfSigned(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalECPrivateKey(c.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, "tls.key": {Type: "EC PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return serial(t, c)
}

func serial(t *testing.T, c *tls.Certificate) string {
	t.Helper()
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf.SerialNumber.String()
}

// A certificate that is replaced takes effect without a restart, a broken one does not.
func TestCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		first := writePair(t, dir)
		var out strings.Builder
		c, err := newCertificate(dir, slog.New(slog.NewTextHandler(&out, nil)))
		if err != nil {
			t.Fatal(err)
		}
		now := func() string {
			t.Helper()
			time.Sleep(rereadAfter)
			got, err := c.get(nil)
			if err != nil {
				t.Fatal(err)
			}
			return serial(t, got)
		}
		if got := now(); got != first {
			t.Errorf("serves %s, want %s", got, first)
		}
		second := writePair(t, dir)
		if got := now(); got != second {
			t.Errorf("serves %s after the change, want %s", got, second)
		}
		if err := os.WriteFile(filepath.Join(dir, "tls.key"), []byte("broken"), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if got := now(); got != second {
				t.Errorf("serves %s with a broken file, want %s", got, second)
			}
		}
		if n := strings.Count(out.String(), "not replaced"); n != 1 {
			t.Errorf("the broken file is logged %d times, want once:\n%s", n, out.String())
		}
		third := writePair(t, dir)
		if got := now(); got != third {
			t.Errorf("serves %s after the repair, want %s", got, third)
		}
	})
}

// A certificate that was made in memory never expires in use.
func TestCertificateInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := newCertificate("", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			got, err := c.get(nil)
			if err != nil {
				t.Fatal(err)
			}
			leaf, err := x509.ParseCertificate(got.Certificate[0])
			if err != nil {
				t.Fatal(err)
			}
			if time.Now().After(leaf.NotAfter) {
				t.Fatalf("expired on %v", leaf.NotAfter)
			}
			time.Sleep(validFor / 3)
		}
	})
}

// Verdicts are remembered, unknown tokens are few, and a token that was allowed stays so
// while nobody can be asked.
func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		by := &fakeReviewer{}
		m := newMemory(by, slog.New(slog.DiscardHandler))
		check := func(token string, want verdict, failed bool) {
			t.Helper()
			if v, err := m.review(t.Context(), token, "/metrics"); v != want || (err != nil) != failed {
				t.Errorf("%s: %d, %v; want %d", token, v, err, want)
			}
		}
		for range 3 {
			check("reader", allowed, false)
			check("stranger to /metrics", denied, false)
		}
		if n := by.asked.Load(); n != 2 {
			t.Errorf("asked %d times about two tokens, want 2", n)
		}
		time.Sleep(allowedFor)
		check("reader", allowed, false)
		if n := by.asked.Load(); n != 3 {
			t.Errorf("asked %d times, want again after a minute", n)
		}
		// A flood of unknown tokens.
		time.Sleep(allowedFor)
		for i := range 1000 {
			_, _ = m.review(t.Context(), string(rune('a'+i)), "/metrics")
		}
		if n := by.asked.Load(); n != 3+maxFresh {
			t.Errorf("a flood of unknown tokens: asked %d times, want %d", n-3, maxFresh)
		}
		check("another", stranger, true)
		check("reader", allowed, false) // renewed in spite of the flood
		// Nobody to ask.
		by.err = errors.New("away")
		time.Sleep(trustedFor - allowedFor)
		check("reader", allowed, false)
		check("another", stranger, true)
		time.Sleep(allowedFor)
		check("reader", stranger, true)
		// Refusals end.
		by.err = nil
		time.Sleep(time.Second)
		check("reader", allowed, false)
	})
}

// The memory is bounded, and refusals do not push out who is allowed.
func TestMemoryBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(&fakeReviewer{}, slog.New(slog.DiscardHandler))
		m.remember(question{path: "reader"}, allowed, nil)
		for i := range 10 * maxVerdicts {
			m.remember(question{path: string(rune(i))}, stranger, nil)
		}
		if len(m.verdicts) > maxVerdicts {
			t.Errorf("%d verdicts, want %d", len(m.verdicts), maxVerdicts)
		}
		if m.verdicts[question{path: "reader"}].verdict != allowed {
			t.Error("refusals pushed out who is allowed")
		}
		time.Sleep(refusedFor)
		m.remember(question{path: "new"}, denied, nil)
		if len(m.verdicts) != 2 {
			t.Errorf("%d verdicts, want 2: the others are over", len(m.verdicts))
		}
	})
}

// The FRR container asks the agent.
func TestAgent(t *testing.T) {
	by := &fakeReviewer{}
	socket := filepath.Join(t.TempDir(), "review")
	if err := os.WriteFile(socket, nil, 0o600); err != nil { // as one left behind
		t.Fatal(err)
	}
	s, err := New(Options{Flags: flagsOf(t, "--secure-metrics"), Handler: http.NotFoundHandler(), Reviewer: by, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- daemon.Run(ctx, daemon.Task{Name: "reviews", Run: func(ctx context.Context) error { return s.ServeReviews(ctx, socket) }})
	}()
	a := NewAgent(socket)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, _, err := a.Review(t.Context(), "reader", "/metrics"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no agent in 20 s")
		}
	}
	for token, want := range map[string]verdict{"reader": allowed, "stranger to /metrics": denied, "nobody": stranger} {
		known, may, err := a.Review(t.Context(), token, "/metrics")
		if err != nil || verdictOf(known, may) != want {
			t.Errorf("%s: %v %v %v", token, known, may, err)
		}
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v; want it for its owner alone", info, err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, _, err := a.Review(t.Context(), "reader", "/metrics"); err == nil {
		t.Error("an agent that has ended answers")
	}
}
