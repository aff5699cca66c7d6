// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/table"
)

// A world answers probes.
type world struct {
	*Prober
	mu      sync.Mutex
	silent  map[string]bool // Services that time out
	refuses map[string]bool // that refuse
	asked   []time.Time
	busy    int
	most    int // probes at a time
	settled int
	changed int
}

func newWorld(t *testing.T) *world {
	w := &world{silent: map[string]bool{}, refuses: map[string]bool{}}
	w.Prober = New(Options{
		Changed: func() { w.mu.Lock(); w.changed++; w.mu.Unlock() },
		Settled: func() { w.mu.Lock(); w.settled++; w.mu.Unlock() },
		Logger:  slog.New(slog.DiscardHandler), ask: w.ask,
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return w
}

func (w *world) ask(ctx context.Context, t announce.Target) result {
	w.mu.Lock()
	w.asked = append(w.asked, time.Now())
	w.busy++
	w.most = max(w.most, w.busy)
	silent, refuses := w.silent[t.Service], w.refuses[t.Service]
	w.mu.Unlock()
	wait := time.Millisecond
	if silent {
		wait = t.Probe.Timeout
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
	}
	w.mu.Lock()
	w.busy--
	w.mu.Unlock()
	if silent || refuses {
		return result{why: "no answer"}
	}
	return result{ok: true}
}

func (w *world) set(m map[string]bool, service string, is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m[service] = is
}

// want probes Services of these names.
func (w *world) want(names ...string) {
	slices.Sort(names)
	w.Want(table.Of(func(yield func(cluster.Key, []announce.Target) bool) {
		for i, name := range names {
			t := announce.Target{Port: 80, Share: 1, ProbeID: announce.ProbeID{
				ServiceAddr: announce.ServiceAddr{Service: "ns/" + name, Addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})},
				Probe:       config.Probe{Protocol: config.ProbeTCP, Interval: 5 * time.Second, Timeout: time.Second, Success: 2, Failure: 3},
			}}
			if !yield(cluster.Key{Namespace: "ns", Name: name}, []announce.Target{t}) {
				return
			}
		}
	}))
}

// failing returns the Services whose probe fails, and those that wait.
func (w *world) known() (failing, waiting []string) {
	synctest.Wait()
	r := w.Readiness()
	for id := range maps.Keys(r.Failing) {
		failing = append(failing, id.Service)
	}
	for id := range maps.Keys(r.Waits) {
		waiting = append(waiting, id.Service)
	}
	slices.Sort(failing)
	slices.Sort(waiting)
	return failing, waiting
}

func (w *world) is(t *testing.T, when string, failing, waiting []string) {
	t.Helper()
	if f, wait := w.known(); !slices.Equal(f, failing) || !slices.Equal(wait, waiting) {
		t.Errorf("%s: %v fail and %v wait; want %v and %v", when, f, wait, failing, waiting)
	}
}

// An agent that starts knows within 2 s what answers. Later an address fails and recovers
// by its thresholds, and a new one waits for one timeout at most.
func TestProber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.refuses["ns/b"] = true
		w.silent["ns/c"] = true
		w.want("a", "b", "c")
		w.is(t, "at first", nil, nil)
		if w.Readiness().Settled {
			t.Error("settled without an answer")
		}
		time.Sleep(500 * time.Millisecond)
		w.is(t, "two early probes later", []string{"ns/b"}, nil)
		time.Sleep(1600 * time.Millisecond)
		if w.known(); !w.Readiness().Settled || w.settled != 1 {
			t.Errorf("not settled once after 2 s: %d", w.settled)
		}
		time.Sleep(2 * time.Second)
		w.is(t, "after three timeouts", []string{"ns/b", "ns/c"}, nil)

		w.set(w.refuses, "ns/a", true)
		time.Sleep(9 * time.Second)
		w.is(t, "after at most two failures", []string{"ns/b", "ns/c"}, nil)
		time.Sleep(6500 * time.Millisecond)
		w.is(t, "after three failures", []string{"ns/a", "ns/b", "ns/c"}, nil)
		w.set(w.refuses, "ns/a", false)
		time.Sleep(4 * time.Second)
		w.is(t, "after at most one answer", []string{"ns/a", "ns/b", "ns/c"}, nil)
		time.Sleep(6500 * time.Millisecond)
		w.is(t, "after two answers", []string{"ns/b", "ns/c"}, nil)

		w.set(w.silent, "ns/d", true)
		w.want("a", "d")
		w.is(t, "a new one", nil, []string{"ns/d"})
		time.Sleep(900 * time.Millisecond)
		w.is(t, "before its first timeout", nil, []string{"ns/d"})
		time.Sleep(200 * time.Millisecond)
		w.is(t, "after one timeout", nil, nil)
		w.want()
		before := len(w.asked)
		time.Sleep(time.Minute)
		if w.is(t, "nothing is probed", nil, nil); len(w.asked) > before+1 {
			t.Errorf("%d probes of what is not wanted", len(w.asked)-before)
		}
		if s := w.Status(); s == nil || s.Passing+s.Failing+s.Unknown != 0 || s.Results.Answered == 0 || s.Results.Failed == 0 {
			t.Errorf("status %+v", s)
		}
	})
}

// An agent that starts goes on without a verdict about an address whose probe times out, and
// says so until there is one. A new address has none either.
func TestProberUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		unknown := func(when string, want ...string) {
			t.Helper()
			synctest.Wait()
			var got []string
			for id := range w.Readiness().Unknown {
				got = append(got, id.Service)
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("%s: no verdict about %v, want %v", when, got, want)
			}
		}
		w.silent["ns/b"] = true
		w.want("a", "b")
		unknown("at first", "ns/a", "ns/b")
		time.Sleep(2100 * time.Millisecond)
		if unknown("settled", "ns/b"); !w.Readiness().Settled {
			t.Error("not settled")
		}
		before := w.Readiness()
		time.Sleep(200 * time.Millisecond)
		if after := w.Readiness(); !after.SameFaults(before) {
			t.Error("what stays as it was is another map")
		}
		time.Sleep(2 * time.Second)
		unknown("after three timeouts")
		w.is(t, "after three timeouts", []string{"ns/b"}, nil)
		w.set(w.silent, "ns/c", true)
		w.want("a", "b", "c")
		unknown("a new one", "ns/c")
		w.is(t, "a new one", []string{"ns/b"}, []string{"ns/c"})
		time.Sleep(4 * time.Second)
		unknown("after three timeouts of the new one")
		w.want("a")
		unknown("without it")
		w.is(t, "without it", nil, nil)
	})
}

// Thousands of probes are spread over their interval, and only some are under way at a time.
func TestProberSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var names []string
		for i := range 2000 {
			names = append(names, fmt.Sprintf("s%04d", i))
		}
		w.want(names...)
		time.Sleep(time.Second)
		if synctest.Wait(); !w.Readiness().Settled || w.settled != 1 {
			t.Error("2000 first probes of a millisecond take more than a second")
		}
		time.Sleep(20 * time.Second) // each at its own point of the interval
		synctest.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.most > parallel {
			t.Errorf("%d probes at a time", w.most)
		}
		now := time.Now()
		perTenth := make([]int, 50)
		for _, at := range w.asked {
			if ago := now.Sub(at); ago < 5*time.Second {
				perTenth[ago/(100*time.Millisecond)]++
			}
		}
		if total, most := sum(perTenth), slices.Max(perTenth); total < 1990 || total > 2010 || most > 100 {
			t.Errorf("%d probes in 5 s, up to %d in a tenth of a second; want 2000 and about 40", total, most)
		}
	})
}

func sum(of []int) (n int) {
	for _, i := range of {
		n += i
	}
	return n
}
