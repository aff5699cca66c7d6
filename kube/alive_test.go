// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"context"
	"encoding/pem"
	"net"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/heraldlb/herald/kube"
)

// Stalls are connections that may stall: they stay open, and nothing arrives any more.
type stalls struct {
	mu      sync.Mutex // guards the field below
	stalled []chan struct{}
}

func (s *stalls) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	stalled := make(chan struct{})
	s.stalled = append(s.stalled, stalled)
	return &stallingConn{Conn: c, stalled: stalled, closed: make(chan struct{})}, nil
}

// stall stalls the connections that there are. It returns their number.
func (s *stalls) stall() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.stalled {
		close(c)
	}
	n := len(s.stalled)
	s.stalled = nil
	return n
}

type stallingConn struct {
	net.Conn
	stalled, closed chan struct{}
	once            sync.Once
}

func (c *stallingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	select {
	case <-c.stalled:
		<-c.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (c *stallingConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// A connection over which nothing arrives any more is noticed, and another one is made.
func TestStalledConnection(t *testing.T) {
	t.Setenv("HTTP2_READ_IDLE_TIMEOUT_SECONDS", "1")
	t.Setenv("HTTP2_PING_TIMEOUT_SECONDS", "1")
	if err := kube.NoticeDead(); err != nil { // which leaves what is set
		t.Fatal(err)
	}
	a := &api{objects: map[string]map[string]map[string]any{"services": {}}, changed: make(chan struct{})}
	a.set("services", "a", "{}", 1)
	server := httptest.NewUnstartedServer(a)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	var s stalls
	c, err := kube.NewClient(&rest.Config{
		Host: server.URL, QPS: -1, Dial: s.dial,
		TLSClientConfig: rest.TLSClientConfig{CAData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})},
	})
	if err != nil {
		t.Fatal(err)
	}
	w := kube.NewWatcher(kube.WatcherOptions{Client: c, Wake: func() {}})
	run(t, w.Run)
	is := func(what string, want ...string) {
		t.Helper()
		eventually(t, what, func() bool {
			all, _ := snapshotOf(w)
			return slices.Equal(serviceNames(all), want)
		})
	}
	is("all is read", "ns/a")
	a.set("services", "b", "{}", 1)
	is("the watch works", "ns/a", "ns/b")
	if n := s.stall(); n != 1 {
		t.Fatalf("there are %d connections", n)
	}
	a.set("services", "c", "{}", 1)
	is("the watch works again", "ns/a", "ns/b", "ns/c")
}

func TestNoticeDead(t *testing.T) {
	t.Setenv("HTTP2_READ_IDLE_TIMEOUT_SECONDS", "")
	t.Setenv("HTTP2_PING_TIMEOUT_SECONDS", "30")
	if err := kube.NoticeDead(); err != nil {
		t.Fatal(err)
	}
	if idle, ping := os.Getenv("HTTP2_READ_IDLE_TIMEOUT_SECONDS"), os.Getenv("HTTP2_PING_TIMEOUT_SECONDS"); idle != "5" || ping != "30" {
		t.Errorf("idle after %s s, dead after %s s more", idle, ping)
	}
}
