// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	"github.com/heraldlb/herald/kube"
)

// A backup is what etcd had at some time.
type backup struct {
	objects map[string]map[string]map[string]any
	version int
}

func (a *api) backup() backup {
	a.mu.Lock()
	defer a.mu.Unlock()
	return backup{cloneObjects(a.objects), a.version}
}

// restore puts etcd back and restarts the API server, which ends all watches.
func (a *patientAPI) restore(b backup) {
	a.api.mu.Lock()
	a.objects, a.version = cloneObjects(b.objects), b.version
	for i, e := range a.events { // watches may be reading it
		e = maps.Clone(e)
		e["version"] = 0 // never again
		a.events[i] = e
	}
	a.api.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.cut)
	a.cut = make(chan struct{})
}

func cloneObjects(objects map[string]map[string]map[string]any) (out map[string]map[string]map[string]any) {
	b, err := json.Marshal(objects)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		panic(err)
	}
	return out
}

// addresses returns the addresses of all Services: "web 198.51.100.7".
func (a *api) addresses(t *testing.T) (out []string) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, o := range a.objects["services"] {
		var svc corev1.Service
		b, err := json.Marshal(o)
		if err == nil {
			err = json.Unmarshal(b, &svc)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range svc.Status.LoadBalancer.Ingress {
			name += " " + i.IP
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// An etcd that is restored to an older state has lower versions. Controller and agent read
// everything again at once and go by it: Services keep the addresses that their statuses
// have, none has another's, and statuses are written onto the older objects.
func TestRestored(t *testing.T) {
	// The last of the library's handlers sleeps until the time of this process's start.
	handlers := utilruntime.ErrorHandlers
	utilruntime.ErrorHandlers = handlers[:1]
	t.Cleanup(func() { utilruntime.ErrorHandlers = handlers })
	for _, tt := range []struct {
		name  string
		later int // Services that the backup lacks, besides heir
	}{
		{"some objects are gone", 0},
		// A list with fewer than half of the known Services is read twice.
		{"most objects are gone", 12},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testRestored(t, tt.later) })
		})
	}
}

func testRestored(t *testing.T, later int) {
	a, config := newPatientAPI(append([]string{"services", "namespaces", "nodes", "endpointslices", l2Plural, bgpPlural}, allPlurals...)...)
	a.keeps = true
	a.set("namespaces", "ns", "", 1)
	a.set("nodes", "n1", "", 1)
	a.set("ipaddresspools", "p", `{"addresses":["198.51.100.7-198.51.100.60"]}`, 1)
	a.set("bgppeers", "tor", `{"myASN":64512,"peerASN":64513,"peerAddress":"10.0.0.1"}`, 1)
	a.set("bgpadvertisements", "ad", `{}`, 1)
	service := func(name string) {
		a.set("services", name, `{"type":"LoadBalancer","clusterIP":"10.96.0.1","ports":[{"port":80}]}`, 1)
		a.slice(name)
		time.Sleep(5 * time.Second)
	}
	defer runBoth(t, config)()

	service("keep")
	service("old")
	state := func() string { return a.status("configurationstates", "speaker-n1") }
	if s := state(); !strings.Contains(s, `"result":"Valid"`) {
		t.Fatalf("the agent's state is %s", s)
	}
	before := a.backup()

	// The address of old passes to heir. The agent's state and the pool's status change.
	a.api.delete("services", "old")
	service("heir")
	for i := range later {
		service(fmt.Sprint("later", i))
	}
	a.set("ipaddresspools", "wrong", `{"addresses":["198.51.100.7-198.51.100.9"]}`, 1)
	time.Sleep(time.Minute)
	if got := a.addresses(t); !slices.Contains(got, "heir 198.51.100.8") {
		t.Fatalf("before the restore: %v", got)
	}
	if s := state(); !strings.Contains(s, `"result":"Invalid"`) {
		t.Fatalf("the agent's state is %s", s)
	}

	a.restore(before)
	synctest.Wait()
	start := time.Now()
	a.set("services", "after", `{"type":"LoadBalancer","clusterIP":"10.96.0.1","ports":[{"port":80}]}`, 1)
	a.slice("after")
	for done := false; !done && time.Since(start) < time.Minute; {
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		got := a.addresses(t)
		if !slices.Contains(got, "old 198.51.100.8") || !slices.Contains(got, "keep 198.51.100.7") {
			t.Fatalf("%v after the restore the Services have %v", time.Since(start), got)
		}
		done = !slices.Contains(got, "after")
	}
	t.Logf("a new Service has an address %v after the restore", time.Since(start))
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("a new Service has no address for %v", took)
	}
	time.Sleep(time.Minute)
	synctest.Wait()
	want := []string{"keep 198.51.100.7", "old 198.51.100.8"}
	if diff := cmp.Diff(want, slices.DeleteFunc(a.addresses(t), func(s string) bool { return strings.HasPrefix(s, "after ") })); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	if s := state(); !strings.Contains(s, `"result":"Valid"`) {
		t.Errorf("the agent's state is %s", s)
	}
	// What changes again is written again, though the versions are lower than before.
	a.set("ipaddresspools", "wrong", `{"addresses":["198.51.100.7-198.51.100.9"]}`, 1)
	time.Sleep(10 * time.Second)
	synctest.Wait()
	if s := state(); !strings.Contains(s, `"result":"Invalid"`) {
		t.Errorf("after another mistake the agent's state is %s", s)
	}
	if s := a.status("ipaddresspools", "wrong"); !strings.Contains(s, "overlaps") {
		t.Errorf("the wrong pool says %s", s)
	}
}

// A snapshot is never of both: a Service that is back has its endpoints.
func TestRestoredTogether(t *testing.T) {
	for range 10 { // the order in which kinds are read again is random
		synctest.Test(t, func(t *testing.T) {
			a, config := newPatientAPI("services", "endpointslices", "nodes")
			a.keeps = true
			c, err := kube.NewClient(config)
			if err != nil {
				t.Fatal(err)
			}
			var wakes atomic.Int64
			w := kube.NewWatcher(kube.WatcherOptions{Client: c, Wake: func() { wakes.Add(1) }, Nodes: true, EndpointSlices: true})
			a.set("nodes", "n1", "", 1)
			a.set("services", "old", "{}", 1)
			a.slice("old")
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- w.Run(ctx) }()
			time.Sleep(10 * time.Second)
			before := a.backup()
			a.api.delete("services", "old")
			a.api.delete("endpointslices", "old")
			a.set("services", "heir", "{}", 1)
			a.slice("heir")
			time.Sleep(10 * time.Second)
			synctest.Wait()
			a.restore(before)
			synctest.Wait()
			woken := wakes.Load()
			var last int64 // when there was a snapshot that shows the restored state
			for range 6000 {
				time.Sleep(time.Millisecond)
				synctest.Wait()
				s, synced := snapshotOf(w)
				if !synced || last > 0 {
					continue
				}
				if i := slices.Index(serviceNames(s), "ns/old"); i >= 0 {
					last = wakes.Load()
					if len(s.Endpoints[s.Services[i].Key]) == 0 {
						t.Error("a Service that is back has no endpoints")
					}
				}
			}
			if last == 0 || wakes.Load() == woken {
				t.Errorf("the restored state is not shown: %d wakes", wakes.Load()-woken)
			}
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}
