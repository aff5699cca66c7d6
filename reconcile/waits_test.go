// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// A timed is a stage whose waits are listed.
type timed struct {
	*stage
	took []string
}

func newTimed(t *testing.T, all ...*cluster.Service) *timed {
	w := &timed{}
	w.stage = newStageWith(t, reconcile.ControllerOptions{Took: func(span status.Span, subject string, d time.Duration) {
		w.took = append(w.took, fmt.Sprintf("%s %s %s", span, subject, d))
	}}, goodConfig, all...)
	return w
}

// after lets time pass, and returns what has ended since the last call.
func (w *timed) after(d time.Duration) []string {
	time.Sleep(d)
	synctest.Wait()
	out := w.took
	w.took = nil
	return out
}

// endpoints changes whether the Service a has one.
func (w *timed) endpoints(has bool) {
	of := map[cluster.Key][]cluster.Endpoint{}
	if has {
		of[cluster.Key{Namespace: "default", Name: "a"}] = []cluster.Endpoint{{Node: "n1"}}
	}
	w.nodes.mu.Lock()
	w.nodes.announced.Reach = &condition.Reach{Nodes: []*cluster.Node{{Name: "n1"}}, Endpoints: table.Of(maps.All(of))}
	w.nodes.mu.Unlock()
	w.wake()
}

// A Service waits for its address, then for a node, and again when no node announces it any
// more. Time in which it lacks an endpoint is nobody's fault.
func TestServiceWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTimed(t)
		defer w.stop()
		w.endpoints(false)
		wants(t, "nothing", w.after(time.Second))
		w.change(func() { w.snapshot.Services = services("a") })
		wants(t, "an address", w.after(10*time.Second), "assign default/a 0s")
		w.endpoints(true)
		time.Sleep(300 * time.Millisecond)
		w.tell("bgp from n1 to r")
		wants(t, "announced", w.after(time.Minute), "announce default/a 300ms")

		w.tell("")
		time.Sleep(4 * time.Second)
		w.tell("bgp from n2 to r")
		wants(t, "interrupted", w.after(time.Minute), "interruption default/a 4s")
		w.tell("bgp from n1, n2 to r")
		wants(t, "by another node too", w.after(time.Minute))

		w.endpoints(false)
		w.tell("")
		time.Sleep(4 * time.Second)
		w.endpoints(true)
		w.tell("bgp from n1 to r")
		wants(t, "without endpoints", w.after(time.Minute))
	})
}

// Who lacks an address that somebody has to free, and what was so before this controller
// led, is not measured.
func TestServiceWaitsForPeople(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTimed(t, services("old=198.51.100.1")...)
		defer w.stop()
		wants(t, "at first", w.after(time.Minute))
		w.change(func() { w.snapshot.Services = append(services("a"), w.snapshot.Services...) })
		wants(t, "the pool is full", w.after(time.Minute))
		w.change(func() { w.snapshot.Services = w.snapshot.Services[:1] })
		w.tell("bgp from n1 to r")
		if diff := cmp.Diff([]string{"announce default/a 1s"}, w.after(time.Minute)); diff != "" {
			t.Errorf("it has the address, and waits for a node alone (-want +got):\n%s", diff)
		}
	})
}

// Services with addresses that no node announces are counted by reason.
func TestUnannounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTimed(t, services("a", "b")...)
		defer w.stop()
		count := func(what string, want map[status.Reason]int) {
			t.Helper()
			w.after(time.Minute)
			w.mu.Lock()
			defer w.mu.Unlock()
			if diff := cmp.Diff(want, w.report.Unannounced); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		w.endpoints(true)
		count("no node", map[status.Reason]int{condition.ReasonNotAnnounced: 1})
		w.endpoints(false)
		count("no endpoint", map[status.Reason]int{status.NoEndpoints: 1})
		w.endpoints(true)
		w.tell("bgp from n1 to r")
		count("announced", map[status.Reason]int{})
	})
}
