// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
)

// pod sets whether the pod of a node's agent is ready.
func (a *api) pod(node string, ready bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	is := "False"
	if ready {
		is = "True"
	}
	a.put("pods", "agent-"+node, map[string]any{
		"metadata": map[string]any{"name": "agent-" + node, "namespace": "ns", "uid": "u-agent-" + node, "labels": map[string]any{"app.kubernetes.io/component": "agent"}},
		"spec":     map[string]any{"nodeName": node},
		"status":   map[string]any{"phase": "Running", "conditions": []any{map[string]any{"type": "Ready", "status": is}}},
	})
}

// made writes an object that was made at a second, in one step.
func (a *api) made(plural, name, node, service string, second int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	o := statusObject(name, node, service)
	o["metadata"].(map[string]any)["creationTimestamp"] = time.Unix(int64(second), 0).UTC().Format(time.RFC3339)
	a.put(plural, name, o)
}

// nameOf returns the name that Herald gives to the object about a Service on a node.
func nameOf(plural, node, service string) string {
	p := status.BGP
	if plural == l2Plural {
		p = status.Layer2
	}
	name, _ := kube.ObjectOf(reconcile.ServiceStatus{Service: cluster.Key{Namespace: "shop", Name: service}, Node: node, Protocol: p})
	return name
}

// clean runs what the leading controller does about statuses.
func clean(t *testing.T, c *kube.Client, log *slog.Logger) {
	t.Helper()
	all := kube.NewAnnouncements(kube.AnnouncementsOptions{Client: c, Namespace: "ns", Wake: func() {}, Logger: log})
	run(t, all.Run)
}

// The leading controller deletes the ServiceL2Status of a node whose agent is not ready,
// once another node has made one after it. It deletes no other.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, l2Plural, bgpPlural, "nodes", "pods", "endpointslices")
	for _, n := range []string{"n1", "n2", "n3"} {
		a.pod(n, true)
	}
	a.made(l2Plural, "l2-a", "n1", "web", 10)
	a.made(l2Plural, "l2-b", "n2", "web", 20) // the other address of the Service
	a.made(l2Plural, "l2-c", "n1", "db", 20)  // nobody has taken it over
	a.made(l2Plural, "l2-d", "n1", "late", 20)
	a.made(l2Plural, "l2-e", "n2", "late", 10) // it was there before
	a.made(l2Plural, "l2-f", "n4", "old", 10)  // another load balancer's
	a.made(l2Plural, "l2-g", "n3", "old", 20)
	a.made(bgpPlural, "bgp-a", "n1", "web", 10) // FRR goes on without the agent
	a.made(bgpPlural, "bgp-b", "n2", "web", 20)
	clean(t, c, slog.New(slog.NewTextHandler(t.Output(), nil)))
	written := func(want ...string) {
		t.Helper()
		eventually(t, fmt.Sprintf("%q", want), func() bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			return len(a.patches) >= len(want)
		})
		time.Sleep(1500 * time.Millisecond) // a round later nothing else is written
		a.mu.Lock()
		defer a.mu.Unlock()
		if !slices.Equal(a.patches, want) {
			t.Errorf("writes are %q, want %q", a.patches, want)
		}
	}
	written()
	a.pod("n1", false)
	written("delete l2-a")
	// The agent lives, and makes it again.
	a.made(l2Plural, "l2-a", "n1", "web", 30)
	written("delete l2-a")
	// Two are not ready: neither has taken over from the other.
	a.pod("n2", false)
	written("delete l2-a")
	a.made(l2Plural, "l2-b", "n2", "web", 40)
	written("delete l2-a")
	a.pod("n2", true)
	written("delete l2-a", "delete l2-a")
	own := nameOf(l2Plural, "n5", "own")
	a.made(l2Plural, own, "n5", "own", 10) // whose agent has no pod any more
	a.made(l2Plural, "l2-h", "n3", "own", 20)
	written("delete l2-a", "delete l2-a", "delete "+own)
}

// An object with the name that Herald gives to that of another node is deleted, and
// keeps nobody from writing it for long.
func TestMisnamedStatus(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, l2Plural, bgpPlural, "nodes", "pods", "endpointslices")
	var said strings.Builder
	var mu sync.Mutex
	clean(t, c, slog.New(slog.NewTextHandler(locked{&mu, &said}, nil)))
	w := kube.NewServiceStatusWriter(kube.ServiceStatusWriterOptions{
		Client: c, Namespace: "ns", Node: "n1", Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	run(t, w.Run)
	announces(w, viaBGP("web", "r1"))
	eventually(t, "it is written", func() bool { return slices.Equal(a.told(bgpPlural), []string{"n1 shop/web: r1"}) })
	names, _ := a.names(bgpPlural)
	announces(w)
	eventually(t, "it is gone", func() bool { return len(a.told(bgpPlural)) == 0 })

	a.left(bgpPlural, names[0], "n3", "web")
	a.left(bgpPlural, "bgp-x7k2p", "n3", "web") // of another load balancer
	eventually(t, "the other node's is deleted", func() bool { return slices.Equal(a.told(bgpPlural), []string{"n3 shop/web: "}) })
	eventually(t, "the log says so", func() bool {
		mu.Lock()
		defer mu.Unlock()
		text := said.String()
		if strings.Contains(text, "x7k2p") {
			t.Errorf("the log is %q", text)
		}
		return strings.Contains(text, "name of another's") && strings.Contains(text, "node=n3")
	})
	announces(w, viaBGP("web", "r1"))
	eventually(t, "it is written again", func() bool {
		return slices.Equal(a.told(bgpPlural), []string{"n1 shop/web: r1", "n3 shop/web: "})
	})
	// Without a status, the label says of which node it is.
	a.mu.Lock()
	a.put(l2Plural, "l2-aaaaaaaaaaaaaaaaaaaa", map[string]any{"metadata": map[string]any{
		"name": "l2-aaaaaaaaaaaaaaaaaaaa", "namespace": "ns", "uid": "u", "labels": map[string]any{"metallb.io/node": "n3"},
	}})
	a.mu.Unlock()
	eventually(t, "one without a status is deleted", func() bool { return len(a.told(l2Plural)) == 0 })
	time.Sleep(1500 * time.Millisecond)
	if got := a.told(bgpPlural); len(got) != 2 {
		t.Errorf("there are %q", got)
	}
}

// The leading controller deletes what is about nodes on which no agent has run for two
// minutes, and no earlier: a pod that is replaced takes less. It deletes nothing about
// nodes whose agents are alive, wherever these run.
func TestAbandonedStatus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, config := newPatientAPI(l2Plural, bgpPlural, "nodes", "pods", "endpointslices")
		a.keeps = true
		c, err := kube.NewClient(config)
		if err != nil {
			t.Fatal(err)
		}
		all := kube.NewAnnouncements(kube.AnnouncementsOptions{
			Client: c, Namespace: "ns", Wake: func() {}, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- all.Run(ctx) }()
		defer func() {
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}()
		// left waits, and wants the objects of these nodes to be there.
		left := func(d time.Duration, want ...string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			a.api.mu.Lock()
			defer a.api.mu.Unlock()
			var got []string
			for _, plural := range []string{bgpPlural, l2Plural} {
				for _, o := range a.objects[plural] {
					got = append(got, o["status"].(map[string]any)["node"].(string))
				}
			}
			slices.Sort(got)
			got = slices.DeleteFunc(slices.Compact(got), func(node string) bool { return node == "other" })
			if len(a.objects[bgpPlural]["bgp-x7k2p"]) == 0 {
				t.Fatal("what another load balancer has made is deleted")
			}
			if !slices.Equal(got, want) {
				t.Errorf("there is something about %q, want %q", got, want)
			}
		}
		own := func(plural, node, service string) { a.made(plural, nameOf(plural, node, service), node, service, 10) }
		for _, node := range []string{"n1", "n2", "n3"} {
			for i := range 5 {
				own(bgpPlural, node, fmt.Sprint("web", i))
			}
			own(l2Plural, node, node)
		}
		a.made(bgpPlural, "bgp-x7k2p", "other", "web0", 10) // of another load balancer's node
		left(time.Hour, "n1", "n2", "n3")                   // agents run, though not in pods
		a.pod("n1", true)
		a.pod("n2", true)
		left(110*time.Second, "n1", "n2", "n3")
		left(50*time.Second, "n1", "n2") // n3 has none
		// The pod of n1 is replaced, that of n2 does not start again.
		a.api.delete("pods", "agent-n1")
		a.api.delete("pods", "agent-n2")
		left(time.Hour, "n1", "n2") // no agent runs at all: that is no news about one of them
		a.pod("n1", true)
		left(100*time.Second, "n1", "n2")
		a.api.delete("pods", "agent-n1")
		a.pod("n3", true)
		left(10*time.Second, "n1", "n2")
		a.pod("n1", false)
		left(time.Hour, "n1")
		// One that writes is alive.
		for i := range 3 {
			own(bgpPlural, "n2", fmt.Sprint("web", i))
			left(100*time.Second, "n1", "n2")
			own(l2Plural, "n2", fmt.Sprint("web", i))
			left(100*time.Second, "n1", "n2")
		}
		left(3*time.Minute, "n1")
	})
}
