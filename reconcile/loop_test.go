// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/cluster/clustertest"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
)

func TestController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		worker := reconcile.NewWorker()
		w := &scene{wake: worker.Wake}
		c := reconcile.NewController(reconcile.ControllerOptions{
			Worker: worker, Cluster: w, Documents: w, Writer: writer{w}, Reporter: reporter{w},
			ConfigEvents: w.configEvent, Logger: verifierLog(t), Verify: true,
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Lead(ctx) }()

		wantUpdates := func(what string, want ...string) {
			t.Helper()
			if diff := cmp.Diff(want, ingresses(w.updates)); diff != "" {
				t.Errorf("%s: updates (-want +got):\n%s", what, diff)
			}
		}
		w.change(func() { w.snapshot.Services = services("a", "b") })
		wantUpdates("nothing is read yet")
		w.write(goodConfig)
		wantUpdates("Services are not read yet")
		w.change(func() { w.synced = true })
		wantUpdates("the first pass", "a=198.51.100.1", "b=")
		if diff := cmp.Diff(map[status.Reason]int{"PoolExhausted": 1}, w.report.Unassigned); diff != "" {
			t.Errorf("unassigned (-want +got):\n%s", diff)
		}
		w.change(func() { w.snapshot.Services = services("a=198.51.100.1", "b") })
		wantUpdates("what is written is wanted no more", "b=")

		w.write(badConfig)
		wantUpdates("a bad configuration changes nothing", "b=")
		if !w.report.Config.Loaded || w.report.Config.Error == "" {
			t.Errorf("the report says %+v of a bad configuration", w.report.Config)
		}
		w.write(badConfig)
		w.change(func() { w.doc = &source.Document{Source: "configmap x", Err: errors.New("not found")} })
		wantUpdates("nor does none", "b=")
		w.write(goodConfig)
		if w.report.Config.Error != "" {
			t.Errorf("the report says %q of a good configuration", w.report.Config.Error)
		}
		want := []string{source.EventConfigRejected, source.EventConfigRejected, source.EventConfigAccepted}
		if diff := cmp.Diff(want, w.events); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}

		stop()
		if err := <-done; err != nil {
			t.Fatalf("lead: %v", err)
		}
		if w.writing || len(w.updates) > 0 {
			t.Error("a controller that does not lead wants something to be written")
		}

		// The new leader knows nothing but what Services say.
		w.refresh = func() { w.snapshot.Services = services("a", "b=198.51.100.1") }
		ctx, stop = context.WithCancel(t.Context())
		go func() { done <- c.Lead(ctx) }()
		settle()
		wantUpdates("leading again", "a=")
		stop()
		if err := <-done; err != nil {
			t.Fatalf("lead: %v", err)
		}
	})
}

// TestControllerGrace wants what a deleted Service had to be given to another
// when the time is over, though nothing happens then.
func TestControllerGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		worker := reconcile.NewWorker()
		w := &scene{wake: worker.Wake, synced: true}
		c := reconcile.NewController(reconcile.ControllerOptions{
			Worker: worker, Cluster: w, Documents: w, Writer: writer{w}, Reporter: reporter{w},
			Logger: verifierLog(t), Verify: true, Assign: assign.Options{Grace: time.Minute},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Lead(ctx) }()
		old, young := clustertest.Service("shop", "old"), clustertest.Service("shop", "young")
		w.write(`address-pools: [{name: web, protocol: layer2, addresses: [192.0.2.1/32]}]`)
		w.change(func() { w.snapshot.Services = []*cluster.Service{old} })
		w.change(func() { w.snapshot.Services = []*cluster.Service{young} })
		// The timer wakes the loop at a time of its own: look with the lock.
		updates := func() ([]assign.Update, int) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.updates, w.report.Pools[0].RetainedV4
		}
		if u, n := updates(); len(u) != 1 || len(u[0].Ingress) > 0 || u[0].Condition.Reason != "PoolExhausted" || n != 1 {
			t.Errorf("while the address is held the updates are %+v, and %d are retained", u, n)
		}
		time.Sleep(57 * time.Second)
		settle()
		if u, _ := updates(); len(u) != 1 || len(u[0].Ingress) > 0 {
			t.Errorf("before the time is over the updates are %+v", u)
		}
		time.Sleep(time.Second)
		settle()
		if u, n := updates(); len(u) != 1 || len(u[0].Ingress) != 1 || n != 0 {
			t.Errorf("when the time is over the updates are %+v, and %d are retained", u, n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestControllerFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		worker := reconcile.NewWorker()
		w := &scene{wake: worker.Wake, synced: true, snapshot: cluster.Snapshot{Services: services("a")}}
		c := reconcile.NewController(reconcile.ControllerOptions{
			Worker: worker, Cluster: w, Documents: w, Writer: writer{w}, Reporter: reporter{w},
			ConfigEvents: w.configEvent, Logger: verifierLog(t), Verify: true,
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Follow(ctx) }()
		w.write(badConfig)
		w.write(goodConfig)
		stop()
		if err := <-done; err != nil {
			t.Fatalf("follow: %v", err)
		}
		if len(w.updates) > 0 || len(w.events) > 0 {
			t.Errorf("updates %v and events %v of a controller that follows", ingresses(w.updates), w.events)
		}
		if !w.report.Synced || !w.report.Config.Loaded || w.report.Leading {
			t.Errorf("the report of a controller that follows is %+v", w.report)
		}
	})
}

func TestAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &scene{synced: true}
		stop := runAgent(t, w)
		w.change(func() { w.doc = &source.Document{Source: "configmap x", Err: errors.New("not found")} })
		w.write(badConfig)
		if w.conf != nil {
			t.Errorf("FRR was told without a configuration:\n%s", w.conf)
		}
		if !w.report.Synced || w.report.Config.Error == "" {
			t.Errorf("the report without a configuration is %+v", w.report)
		}
		w.write(goodConfig)
		if !strings.Contains(string(w.conf), "neighbor 192.0.2.254 remote-as 64513") {
			t.Errorf("FRR was told:\n%s", w.conf)
		}
		if len(w.report.Peers) != 1 || !w.report.Peers[0].Wanted {
			t.Errorf("the report has peers %+v", w.report.Peers)
		}
		before := string(w.conf)
		w.write(badConfig)
		w.change(func() { w.doc = &source.Document{Source: "configmap x", Err: errors.New("not found")} })
		if string(w.conf) != before {
			t.Errorf("no good configuration changed what FRR was told to:\n%s", w.conf)
		}
		stop()
		if string(w.conf) != before {
			t.Errorf("the end of the agent changed what FRR was told to:\n%s", w.conf)
		}
	})
}

// A route that is announced in another way than before is looked at again, and no
// other.
func TestAgentRepointed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peers := "peers: [{peer-address: 192.0.2.254, peer-asn: 64513, my-asn: 64512}, {peer-address: 192.0.2.253, peer-asn: 64513, my-asn: 64512}]\n"
		pools := "address-pools: [{name: web, protocol: bgp, addresses: [198.51.100.1-198.51.100.1], bgp-advertisements: [{%s}]}, {name: more, protocol: bgp, addresses: [198.51.100.2-198.51.100.2]}]"
		w := &scene{synced: true}
		w.snapshot.Services = services("a=198.51.100.1", "b=198.51.100.2")
		w.snapshot.Endpoints = map[cluster.Key][]cluster.Endpoint{}
		for _, s := range w.snapshot.Services {
			w.snapshot.Endpoints[s.Key] = []cluster.Endpoint{{Node: "n1"}}
		}
		defer runAgent(t, w)()
		w.write(peers + fmt.Sprintf(pools, ""))
		if !strings.Contains(string(w.conf), "network 198.51.100.1/32") || len(w.rechecked) > 0 {
			t.Fatalf("%v are looked at again, with\n%s", w.rechecked, w.conf)
		}
		w.write(peers + fmt.Sprintf(pools, `communities: ["64512:1"]`))
		want := []netip.Prefix{netip.MustParsePrefix("198.51.100.1/32")}
		if !slices.Equal(w.rechecked, want) {
			t.Errorf("%v are looked at again, want %v, with\n%s", w.rechecked, want, w.conf)
		}
		w.write(peers + fmt.Sprintf(pools, `communities: ["64512:1"]`) + " # the same")
		if len(w.rechecked) > 1 {
			t.Errorf("%v are looked at again", w.rechecked)
		}
	})
}

func TestAgentBeforeSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(scene)
		defer runAgent(t, w)()
		w.write(goodConfig)
		if w.conf != nil {
			t.Errorf("FRR was told before everything was read:\n%s", w.conf)
		}
		w.change(func() { w.synced = true })
		if w.conf == nil {
			t.Error("FRR was not told after everything was read")
		}
	})
}
