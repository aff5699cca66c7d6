// SPDX-License-Identifier: Apache-2.0

package dataplane_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/dataplane"
	"github.com/heraldlb/herald/table"
)

// A proxy answers as kube-proxy does, at one port for everything.
type proxy struct {
	code   atomic.Int64
	body   atomic.Value // string
	asked  atomic.Int64
	server *httptest.Server
	at     netip.AddrPort
}

func newProxy(t *testing.T, code int, body string) *proxy {
	p := &proxy{}
	p.say(code, body)
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p.asked.Add(1)
		w.WriteHeader(int(p.code.Load()))
		fmt.Fprint(w, p.body.Load())
	}))
	t.Cleanup(p.server.Close)
	p.at = netip.MustParseAddrPort(p.server.Listener.Addr().String())
	return p
}

func (p *proxy) say(code int, body string) {
	p.body.Store(body)
	p.code.Store(int64(code))
}

// A running Gate, and what it called.
type running struct {
	*dataplane.Gate
	settled, changed atomic.Int64
}

func run(t *testing.T, healthz netip.AddrPort) *running {
	r := &running{}
	r.Gate = dataplane.New(dataplane.Options{
		Healthz: healthz, Changed: func() { r.changed.Add(1) }, Settled: func() { r.settled.Add(1) }, Logger: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

// about returns questions as an agent asks them, each about another Service.
func about(questions ...announce.Question) announce.QuestionTable {
	var e table.Editor[cluster.Key, []announce.Question]
	for _, q := range questions {
		e.Set(cluster.ParseKey(q.Service), []announce.Question{q})
	}
	return e.Table()
}

// eventually waits for progress.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

// Bodies of kube-proxy.
const (
	healthy  = `{"lastUpdated":"2026-01-01T00:00:00Z","currentTime":"2026-01-01T00:00:00Z","nodeEligible":true,"healthy":true,"status":{"IPv4":{"lastUpdated":"2026-01-01T00:00:00Z","healthy":true}}}`
	starting = `{"lastUpdated":"2026-01-01T00:00:00Z","currentTime":"2026-01-01T00:00:00Z","nodeEligible":true,"healthy":true}`
	leaving  = `{"lastUpdated":"2026-01-01T00:00:00Z","currentTime":"2026-01-01T00:00:00Z","nodeEligible":false,"healthy":true,"status":{"IPv4":{"lastUpdated":"2026-01-01T00:00:00Z","healthy":true}}}`
	older    = `{"lastUpdated":"2026-01-01T00:00:00Z","currentTime":"2026-01-01T00:00:00Z","nodeEligible":true}`
)

// What kube-proxy, of several versions, says of its health, and whether the node is then
// able to forward.
func TestHealth(t *testing.T) {
	tests := []struct {
		name, body string
		code       int
		healthy    bool
	}{
		{"healthy", healthy, http.StatusOK, true},
		{"no rules yet", starting, http.StatusOK, false},
		{"an older one", older, http.StatusOK, true},
		{"another program", "ok", http.StatusOK, true},
		{"the node is being deleted", leaving, http.StatusServiceUnavailable, true},
		{"stuck", `{"nodeEligible":true,"healthy":false,"status":{"IPv4":{"healthy":false}}}`, http.StatusServiceUnavailable, false},
		{"another program that is not", "no", http.StatusServiceUnavailable, false},
		{"elsewhere", "", http.StatusFound, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newProxy(t, tt.code, tt.body)
			g := run(t, p.at)
			g.Want(about(), nil)
			eventually(t, "not asked", func() bool { return p.asked.Load() > 1 || g.Status().Healthy })
			if s := g.Status(); s.Healthy != tt.healthy || !s.Answers || s.Healthy != (s.Detail == "") {
				t.Errorf("status %+v, want healthy %t", s, tt.healthy)
			}
			if r := g.Readiness(); r.Settled != tt.healthy {
				t.Errorf("settled %t after %d questions", r.Settled, p.asked.Load())
			}
		})
	}
}

// An agent that starts learns at once what the data plane serves. A Service that it does
// not serve waits, and delays no other.
func TestGate(t *testing.T) {
	node := newProxy(t, http.StatusOK, healthy)
	serves := newProxy(t, http.StatusOK, `{"service":{"namespace":"ns","name":"a"},"localEndpoints":1}`)
	g := run(t, node.at)
	local := func(name, addr string, p *proxy) announce.Question {
		return announce.Question{
			ServiceAddr: announce.ServiceAddr{Service: "ns/" + name, Addr: netip.MustParseAddr(addr)}, HealthPort: p.at.Port(), Here: true,
		}
	}
	a := local("a", "192.0.2.1", serves)
	g.Want(about(a), nil)
	eventually(t, "not settled", func() bool { return g.Readiness().Settled })
	if r := g.Readiness(); len(r.Waits)+len(r.Waived) > 0 || g.settled.Load() != 1 || g.changed.Load() == 0 {
		t.Errorf("%+v, settled %d times, changed %d", r, g.settled.Load(), g.changed.Load())
	}

	// Two more come: one that is answered for by the wrong Service, one that is ready a
	// moment later.
	later := newProxy(t, http.StatusServiceUnavailable, `{"service":{"namespace":"ns","name":"later"},"localEndpoints":0}`)
	wrong, late := local("wrong", "192.0.2.2", serves), local("later", "192.0.2.3", later)
	g.Want(about(a, wrong, late), nil)
	r := g.Readiness()
	if r.Waits[wrong.ServiceAddr] == "" || r.Waits[late.ServiceAddr] == "" || len(r.Waits) != 2 {
		t.Fatalf("at once: %+v", r)
	}
	eventually(t, "no reason", func() bool {
		w := g.Readiness().Waits
		return w[late.ServiceAddr] == fmt.Sprintf("health check node port %d answers 503", later.at.Port()) &&
			w[wrong.ServiceAddr] == fmt.Sprintf("health check node port %d answers for another Service", serves.at.Port())
	})
	changed := g.changed.Load()
	later.say(http.StatusOK, `{"service":{"namespace":"ns","name":"later"},"localEndpoints":1}`)
	eventually(t, "not ready", func() bool { _, waits := g.Readiness().Waits[late.ServiceAddr]; return !waits })
	eventually(t, "not woken", func() bool { return g.changed.Load() > changed })

	// What is ready is asked no more, and the one that is never ready is waived.
	eventually(t, "not waived", func() bool { return g.Readiness().Waived[wrong.ServiceAddr] != "" })
	asked := later.asked.Load()
	if r := g.Readiness(); len(r.Waits) > 0 || g.Status().Waived != 1 {
		t.Errorf("%+v, %+v", r, g.Status())
	}
	time.Sleep(100 * time.Millisecond)
	if n := later.asked.Load(); n != asked {
		t.Errorf("asked %d times more", n-asked)
	}
	g.Want(about(), nil)
	if r := g.Readiness(); len(r.Waits)+len(r.Waived) > 0 {
		t.Errorf("nothing is wanted: %+v", r)
	}
}

// A new address waits until it can be connected to from the node.
func TestGateConnects(t *testing.T) {
	node := newProxy(t, http.StatusOK, healthy)
	g := run(t, node.at)
	g.Want(about(), nil)
	eventually(t, "not settled", func() bool { return g.Readiness().Settled })
	listener, err := net.Listen("tcp", "127.0.0.77:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(listener.Addr().String())
	listener.Close() // nobody listens
	serves := newProxy(t, http.StatusOK, "")
	l := announce.Question{ServiceAddr: announce.ServiceAddr{Service: "ns/new", Addr: at.Addr()}, HealthPort: serves.at.Port(), TCP: []uint16{at.Port()}, Here: true}
	g.Want(about(l), nil)
	eventually(t, "not tried", func() bool {
		r, want := g.Readiness(), fmt.Sprintf("no connection to %s from the node", at)
		return r.Waits[l.ServiceAddr] == want || r.Waived[l.ServiceAddr] == want
	})
	listener, err = net.Listen("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	eventually(t, "not ready", func() bool { return len(g.Readiness().Waits) == 0 })
}

// An agent that starts on a node whose data plane does not serve a Service waits a moment,
// and goes on with it. A Service that comes meanwhile waits as any other.
func TestGateSettles(t *testing.T) {
	node := newProxy(t, http.StatusOK, starting)
	never := newProxy(t, http.StatusServiceUnavailable, "")
	g := run(t, node.at)
	old := announce.Question{ServiceAddr: announce.ServiceAddr{Service: "ns/old", Addr: netip.MustParseAddr("192.0.2.1")}, HealthPort: never.at.Port(), Here: true}
	fresh := old
	fresh.ServiceAddr = announce.ServiceAddr{Service: "ns/new", Addr: netip.MustParseAddr("192.0.2.2")}
	g.Want(about(old), nil)
	g.Want(about(old, fresh), nil)
	node.say(http.StatusOK, healthy)
	eventually(t, "not settled", func() bool { return g.Readiness().Settled })
	if r := g.Readiness(); r.Waived[old.ServiceAddr] == "" || r.Waits[fresh.ServiceAddr] == "" && r.Waived[fresh.ServiceAddr] == "" {
		t.Errorf("%+v", r)
	}
	eventually(t, "both are waived", func() bool { return g.Status().Waived == 2 })
}
