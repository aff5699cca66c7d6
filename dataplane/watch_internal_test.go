// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/netip"
	"testing"
	"time"

	"github.com/heraldlb/herald/announce"
)

var (
	yes     = answer{yes: true}
	no      = answer{why: "503"}
	refused = answer{silent: true, why: "refused"}
)

func local(here bool, ports ...uint16) announce.Question {
	return announce.Question{
		ServiceAddr: announce.ServiceAddr{Service: "ns/web", Addr: netip.MustParseAddr("192.0.2.1")}, HealthPort: 30000, TCP: ports, Here: here,
	}
}

// An address waits until the data plane has its endpoints, a new one also until it can be
// connected to. It never waits for ever, and never again while it has endpoints.
func TestWatch(t *testing.T) {
	type step struct {
		after time.Duration
		here  *bool  // Want
		a     answer // else an answer
		want  phase
	}
	here, gone := new(true), new(false)
	tests := []struct {
		name   string
		known  bool // before the first look
		ports  []uint16
		learnt learnt
		steps  []step
	}{
		{"an address that was there before", true, []uint16{80}, learnt{}, []step{
			{0, here, answer{}, asking}, {quick, nil, no, asking}, {time.Second, nil, yes, ready},
			{time.Hour, here, answer{}, ready}, // not asked again
		}},
		{"a new address is connected to", false, []uint16{80}, learnt{}, []step{
			{0, here, answer{}, asking}, {quick, nil, yes, trying}, {quick, nil, no, trying}, {time.Second, nil, yes, ready},
		}},
		{"a new address that has no TCP port", false, nil, learnt{}, []step{{0, here, answer{}, asking}, {quick, nil, yes, ready}}},
		{"endpoints that come later", false, []uint16{80}, learnt{}, []step{
			{0, gone, answer{}, absent}, {fresh, here, answer{}, asking}, {quick, nil, yes, ready},
		}},
		{"endpoints that go and come back", true, []uint16{80}, learnt{}, []step{
			{0, here, answer{}, asking}, {quick, nil, yes, ready}, {time.Minute, gone, answer{}, absent}, {time.Second, here, answer{}, asking},
			{quick, nil, no, asking}, {quick, nil, yes, ready},
		}},
		{"no answer but 503", true, nil, learnt{}, []step{
			{0, here, answer{}, asking}, {limit - 1, nil, no, asking}, {1, nil, no, waived}, {time.Hour, here, answer{}, waived},
		}},
		{"nothing listens", true, nil, learnt{}, []step{{0, here, answer{}, asking}, {limit - 1, nil, refused, asking}, {1, nil, refused, waived}}},
		{"nothing listens, as for others", true, nil, learnt{silent: true}, []step{{0, here, answer{}, asking}, {quick, nil, refused, waived}}},
		{"nothing listens, though for others it does", true, nil, learnt{answers: true}, []step{
			{0, here, answer{}, asking}, {limit - 1, nil, refused, asking}, {1, nil, refused, waived},
		}},
		{"no connection", false, []uint16{80}, learnt{}, []step{
			{0, here, answer{}, asking}, {quick, nil, yes, trying}, {tryLimit - 1, nil, no, trying}, {1, nil, no, waived},
		}},
		{"no connection, as for others", false, []uint16{80}, learnt{failed: enough}, []step{{0, here, answer{}, asking}, {quick, nil, yes, ready}}},
		{"no connection to some, though to others", false, []uint16{80}, learnt{failed: enough, connected: true}, []step{
			{0, here, answer{}, asking}, {quick, nil, yes, trying},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var w watch
			now, known := time.Unix(1000, 0), tt.known
			for i, s := range tt.steps {
				now = now.Add(s.after)
				if s.here != nil {
					w = w.want(local(*s.here, tt.ports...), known, now)
					known = true
				} else {
					w, tt.learnt = w.next(s.a, tt.learnt, now)
				}
				if w.phase != s.want {
					t.Fatalf("step %d: phase %d, want %d (%s)", i+1, w.phase, s.want, w.why)
				}
				if w.waits() && w.why == "" {
					t.Errorf("step %d: it waits and says nothing", i+1)
				}
			}
		})
	}
}

// A Service without a health check node port waits for a connection alone, and that only
// while its address is new.
func TestWatchNoPort(t *testing.T) {
	now := time.Unix(1000, 0)
	q := local(true, 80)
	q.HealthPort = 0
	if w := (watch{}).want(q, true, now); w.phase != ready {
		t.Errorf("an old address: phase %d", w.phase)
	}
	w := (watch{}).want(q, false, now)
	if w.phase != trying {
		t.Errorf("a new address: phase %d", w.phase)
	}
	if w, _ := w.next(no, learnt{failed: enough}, now.Add(quick)); w.phase != waived {
		t.Errorf("no connection, as for others: phase %d", w.phase)
	}
	if w, _ := w.next(yes, learnt{}, now.Add(quick)); w.phase != ready {
		t.Errorf("connected: phase %d", w.phase)
	}
	later := q
	later.Here = false
	w = (watch{}).want(later, false, now)
	if w = w.want(q, true, now.Add(fresh)); w.phase != ready {
		t.Errorf("endpoints that come later: phase %d", w.phase)
	}
}

// A Service that has no port to connect to any more, as after an edit, waits for nothing.
func TestWatchLosesPorts(t *testing.T) {
	now := time.Unix(0, 0).Add(time.Hour)
	q := announce.Question{Here: true, TCP: []uint16{80}}
	w := watch{}.want(q, false, now)
	if w.phase != trying {
		t.Fatalf("a new Service is in phase %d", w.phase)
	}
	q.TCP = nil
	if w = w.want(q, true, now); w.phase != ready || w.waits() {
		t.Errorf("without a port it is in phase %d", w.phase)
	}
}

// A question that hangs is not repeated soon: it holds up others.
func TestWatchHangs(t *testing.T) {
	now := time.Unix(1000, 0)
	w := (watch{}).want(local(true), true, now)
	w, _ = w.next(answer{hangs: true, why: "hangs"}, learnt{}, now)
	if w.due.Sub(now) != hung {
		t.Errorf("asked again after %v, want %v", w.due.Sub(now), hung)
	}
}

// A node opens when its data plane is healthy, and at the latest after a while, which is
// longer after it has booted. Then it stays open.
func TestNode(t *testing.T) {
	start := time.Unix(1000, 0)
	tests := []struct {
		name string
		up   time.Duration
		a    answer
		open time.Duration
	}{
		{"healthy", time.Hour, yes, 0},
		{"healthy after a boot", time.Second, yes, 0},
		{"unhealthy", time.Hour, no, nodeLimit},
		{"none", time.Hour, refused, nodeLimit},
		{"none after a boot", 10 * time.Second, refused, bootLimit - 10*time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(start, tt.up)
			if tt.open > 0 {
				if n = n.next(tt.a, start.Add(tt.open-1)); n.open {
					t.Error("open too early")
				}
			}
			if n = n.next(tt.a, start.Add(tt.open)); !n.open {
				t.Errorf("not open after %v", tt.open)
			}
			if n = n.next(refused, start.Add(time.Hour)); !n.open || n.healthy {
				t.Errorf("kube-proxy is away: open %t, healthy %t", n.open, n.healthy)
			}
		})
	}
}
