// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// announces has a node announce these.
func announces(w *kube.ServiceStatusWriter, all ...reconcile.ServiceStatus) {
	by := map[cluster.Key][]reconcile.ServiceStatus{}
	for _, s := range all {
		by[s.Service] = append(by[s.Service], s)
	}
	statuses := table.Of(maps.All(by))
	w.Set(func() reconcile.ServiceStatuses { return statuses })
}

// told shows the statuses of a plural, "node namespace/name: peers or interfaces".
func (a *api) told(plural string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, o := range a.objects[plural] {
		var s struct {
			Node, ServiceName, ServiceNamespace string
			Peers                               []string
			Interfaces                          []struct{ Name string }
		}
		b, _ := json.Marshal(o["status"])
		json.Unmarshal(b, &s)
		for _, i := range s.Interfaces {
			s.Peers = append(s.Peers, i.Name)
		}
		out = append(out, fmt.Sprintf("%s %s/%s: %s", s.Node, s.ServiceNamespace, s.ServiceName, strings.Join(s.Peers, " ")))
	}
	slices.Sort(out)
	return out
}

// names returns the names of the objects of a plural, and who owns them.
func (a *api) names(plural string) (names, owners []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, o := range a.objects[plural] {
		names = append(names, name)
		b, _ := json.Marshal(o["metadata"].(map[string]any)["ownerReferences"])
		owners = append(owners, string(b))
	}
	return names, owners
}

func (a *api) written() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.patches)
}

func viaBGP(name string, peers ...string) reconcile.ServiceStatus {
	return reconcile.ServiceStatus{Service: cluster.Key{Namespace: "shop", Name: name}, Node: "n1", Protocol: status.BGP, Peers: peers}
}

func viaLayer2(name string, interfaces ...string) reconcile.ServiceStatus {
	return reconcile.ServiceStatus{Service: cluster.Key{Namespace: "shop", Name: name}, Node: "n1", Protocol: status.Layer2, Interfaces: interfaces}
}

const l2Plural, bgpPlural = "servicel2statuses", "servicebgpstatuses"

// left is an object that somebody has left behind.
func (a *api) left(plural, name, node, service string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.put(plural, name, statusObject(name, node, service))
}

// statusObject is an object about a Service on a node.
func statusObject(name, node, service string) map[string]any {
	return map[string]any{
		"metadata": map[string]any{"name": name, "namespace": "ns", "uid": "u-" + name, "generation": 1.0, "labels": map[string]any{
			"metallb.io/node": node, "metallb.io/service-name": service, "metallb.io/service-namespace": "shop",
		}},
		"status": map[string]any{"node": node, "serviceName": service, "serviceNamespace": "shop"},
	}
}

func TestServiceStatus(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, l2Plural, bgpPlural, "nodes", "pods")
	a.set("nodes", "n1", "", 1)
	a.set("pods", "agent-1", "", 1)
	a.left(bgpPlural, "bgp-x7k2p", "n1", "gone") // of another load balancer's agent here
	a.left(l2Plural, "l2-other", "n9", "web")    // of another node
	w := kube.NewServiceStatusWriter(kube.ServiceStatusWriterOptions{
		Client: c, Namespace: "ns", Node: "n1", Pod: "agent-1",
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	run(t, w.Run)
	says := func(what, plural string, want ...string) {
		t.Helper()
		var got []string
		eventually(t, what, func() bool {
			got = a.told(plural)
			return slices.Equal(got, want) || t.Context().Err() != nil
		})
	}
	time.Sleep(1500 * time.Millisecond) // nothing is known yet, so that nothing is deleted
	if got := a.written(); got > 0 {
		t.Errorf("%d writes before it is known what the node announces", got)
	}
	announces(w, viaBGP("web", "r1", "r2"), viaLayer2("web", "eth0"))
	says("peers", bgpPlural, "n1 shop/web: r1 r2")
	says("one layer 2 owner", l2Plural, "n1 shop/web: eth0", "n9 shop/web: ")
	names, owners := a.names(bgpPlural)
	if want := `[{"apiVersion":"v1","kind":"Pod","name":"agent-1","uid":"u-agent-1"}]`; len(owners) != 1 || owners[0] != want {
		t.Errorf("owned by %v, want %s", owners, want) // nobody owns the pod
	}
	before := a.written()
	announces(w, viaBGP("web", "r2"), viaLayer2("web"))
	says("a peer less", bgpPlural, "n1 shop/web: r2")
	says("any interface", l2Plural, "n1 shop/web: ", "n9 shop/web: ")
	if got := a.written() - before; got != 2 {
		t.Errorf("%d writes for two changes: %v", got, a.patches)
	}
	a.delete(bgpPlural, names[0])
	says("what somebody deletes", bgpPlural, "n1 shop/web: r2")
	announces(w)
	says("the end", bgpPlural)
	says("the end", l2Plural, "n9 shop/web: ")
}

// A new agent takes over what the one before it on the node has written.
func TestServiceStatusTakeover(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, l2Plural, bgpPlural, "nodes")
	a.set("nodes", "n1", "", 1)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	start := func(pod string) (w *kube.ServiceStatusWriter, end func()) {
		w = kube.NewServiceStatusWriter(kube.ServiceStatusWriterOptions{Client: c, Namespace: "ns", Node: "n1", Pod: pod, Logger: log})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		return w, func() {
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	owned := func(what, by string) {
		t.Helper()
		eventually(t, what, func() bool {
			_, owners := a.names(bgpPlural)
			return len(owners) == 1 && strings.Contains(owners[0], by) && slices.Equal(a.told(bgpPlural), []string{"n1 shop/web: r1"})
		})
	}
	w, end := start("")
	announces(w, viaBGP("web", "r1"))
	owned("by the node", `"u-n1"`)
	end()
	a.mu.Lock()
	a.objects["pods"] = map[string]map[string]any{}
	a.ownedPod("agent-2")
	a.ownedPod("agent-3")
	a.mu.Unlock()
	before := a.written()
	w, end = start("agent-2")
	announces(w, viaBGP("web", "r1"))
	owned("by the owner of the new pod", `[{"apiVersion":"apps/v1","kind":"DaemonSet","name":"agent","uid":"u-ds"}]`)
	if got := a.written() - before; got != 1 {
		t.Errorf("%d writes: %v", got, a.patches[before:])
	}
	end()
	// A restart, as in a rollout of the DaemonSet, writes what has changed and nothing else.
	before = a.written()
	w, end = start("agent-3")
	defer end()
	announces(w, viaBGP("web", "r1"), viaBGP("new", "r1"))
	eventually(t, "the new one is written", func() bool { return len(a.told(bgpPlural)) == 2 })
	time.Sleep(1500 * time.Millisecond) // a round later nothing else is
	if got := a.written() - before; got != 1 {
		t.Errorf("%d writes after a restart: %v", got, a.patches[before:])
	}
}

// ownedPod writes the pod of an agent that a DaemonSet owns. The caller holds mu.
func (a *api) ownedPod(name string) {
	a.put("pods", name, map[string]any{"metadata": map[string]any{
		"name": name, "namespace": "ns", "uid": "u-" + name, "ownerReferences": []any{map[string]any{
			"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "u-ds", "controller": true, "blockOwnerDeletion": true,
		}},
	}})
}

// A change is as many writes among a thousand Services as among none, and without
// one there are none.
func TestServiceStatusWrites(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, l2Plural, bgpPlural, "nodes")
	w := kube.NewServiceStatusWriter(kube.ServiceStatusWriterOptions{Client: c, Namespace: "ns", Node: "n1", Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	run(t, w.Run)
	var all []reconcile.ServiceStatus
	for i := range 150 {
		all = append(all, viaBGP(fmt.Sprintf("s%d", i), "r1"))
	}
	announces(w, all...)
	eventually(t, "all are written", func() bool { return a.written() == len(all) })
	one := slices.Clone(all)
	one[7].Peers = []string{"r2"}
	announces(w, one...)
	eventually(t, "the change is written", func() bool { return a.written() == len(all)+1 })
	// Whatever is wanted again is there: two rounds find nothing.
	looked := make(chan struct{}, 10)
	for range 2 {
		announces(w, one...)
		time.AfterFunc(1500*time.Millisecond, func() { looked <- struct{}{} })
		<-looked
	}
	if got := a.written(); got != len(all)+1 {
		t.Errorf("%d writes, want %d", got, len(all)+1)
	}
}

// TestServiceStatusMany has three agents report 5,000 Services. A change of one is
// as many requests as it is among one.
func TestServiceStatusMany(t *testing.T) {
	t.Parallel()
	for _, many := range []int{1, 5000} {
		t.Run(fmt.Sprint(many), func(t *testing.T) {
			a, c := newAPI(t, l2Plural, bgpPlural, "nodes")
			agents := make([][]reconcile.ServiceStatus, 3)
			var writers []*kube.ServiceStatusWriter
			on := func(node, service string, peers ...string) reconcile.ServiceStatus {
				s := viaBGP(service, peers...)
				s.Node = node
				return s
			}
			for n, node := range []string{"n1", "n2", "n3"} {
				for i := range many {
					s := on(node, fmt.Sprintf("s%d", i), "r1", "r2")
					name, says := kube.ObjectOf(s)
					a.set(bgpPlural, name, "", 1, `"status":`+says)
					a.objects[bgpPlural][name]["metadata"].(map[string]any)["labels"] = map[string]any{"metallb.io/node": node}
					agents[n] = append(agents[n], s)
				}
				w := kube.NewServiceStatusWriter(kube.ServiceStatusWriterOptions{
					Client: c, Namespace: "ns", Node: node, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
				})
				announces(w, agents[n]...)
				writers = append(writers, w)
			}
			for _, w := range writers {
				run(t, w.Run)
			}
			// change has each agent want something else of its Services.
			change := func(what string, requests int, f func(node string, all []reconcile.ServiceStatus) []reconcile.ServiceStatus) {
				t.Helper()
				before := a.written()
				for i, all := range agents {
					agents[i] = f(fmt.Sprintf("n%d", i+1), slices.Clone(all))
					announces(writers[i], agents[i]...)
				}
				eventually(t, what, func() bool { return a.written() >= before+requests })
				if got := a.written() - before; got != requests {
					t.Errorf("%s: %d requests that write, want %d", what, got, requests)
				}
			}
			change("a new Service", 3, func(node string, all []reconcile.ServiceStatus) []reconcile.ServiceStatus {
				return append(all, on(node, "x", "r1"))
			})
			change("one more peer is sent its routes", 3, func(node string, all []reconcile.ServiceStatus) []reconcile.ServiceStatus {
				all[many] = on(node, "x", "r1", "r2")
				return all
			})
			change("it ends", 3, func(_ string, all []reconcile.ServiceStatus) []reconcile.ServiceStatus { return all[:many] })
		})
	}
}

func TestServiceStatusNotInstalled(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, "nodes")
	var log strings.Builder
	var mu sync.Mutex
	w := kube.NewServiceStatusWriter(kube.ServiceStatusWriterOptions{
		Client: c, Namespace: "ns", Node: "n1", Logger: slog.New(slog.NewTextHandler(locked{&mu, &log}, nil)),
	})
	run(t, w.Run)
	announces(w, viaBGP("web", "r1"))
	eventually(t, "it says so", func() bool { mu.Lock(); defer mu.Unlock(); return strings.Contains(log.String(), "not written") })
	a.mu.Lock()
	a.objects[bgpPlural] = map[string]map[string]any{}
	a.mu.Unlock()
	eventually(t, "it is found", func() bool { return slices.Equal(a.told(bgpPlural), []string{"n1 shop/web: r1"}) })
	mu.Lock()
	defer mu.Unlock()
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines: %s", n, log.String())
	}
}

// A locked writer may be read elsewhere.
type locked struct {
	mu *sync.Mutex
	b  *strings.Builder
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// announcers returns who announces what.
func announcers(o condition.Observed) map[cluster.Key]string { return maps.Collect(o.Announcers.All()) }

func TestAnnouncements(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, l2Plural)
	wakes := make(chan struct{}, 100)
	all := kube.NewAnnouncements(kube.AnnouncementsOptions{
		Client: c, Namespace: "ns", Wake: func() { wakes <- struct{}{} }, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if _, read := all.Announced(); read {
		t.Error("read before anything was")
	}
	run(t, all.Run)
	web := cluster.Key{Namespace: "shop", Name: "web"}
	says := func(what, want string) {
		t.Helper()
		eventually(t, what, func() bool {
			got, read := all.Announced()
			return read && got.Reported && announcers(got)[web] == want
		})
	}
	says("one kind is enough", "")
	a.left(l2Plural, "l2-a", "n2", "web")
	says("layer 2", "layer2 from n2")
	before, _ := all.Announced()
	a.set(l2Plural, "l2-b", "", 1) // its status is not written yet
	a.left(l2Plural, "l2-c", "n3", "web")
	says("two", "layer2 from n2, n3")
	if announcers(before)[web] != "layer2 from n2" {
		t.Errorf("what was given out says %q now", announcers(before)[web])
	}
	a.delete(l2Plural, "l2-a")
	says("one is gone", "layer2 from n3")
	a.delete(l2Plural, "l2-c")
	says("both are", "")
}

func TestCountWrites(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	counts := map[string]int{}
	config := &rest.Config{Host: "http://127.0.0.1:1", QPS: -1}
	kube.CountWrites(config, func(resource, verb string) {
		mu.Lock()
		defer mu.Unlock()
		counts[verb+" "+resource]++
	})
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct{ method, path string }{
		{"PATCH", "/api/v1/namespaces/shop/services/web/status"},
		{"POST", "/api/v1/namespaces/shop/events"},
		{"POST", "/apis/metallb.io/v1beta1/namespaces/ns/servicel2statuses"},
		{"DELETE", "/apis/metallb.io/v1beta1/namespaces/ns/servicel2statuses/l2-a"},
		{"PUT", "/apis/coordination.k8s.io/v1/namespaces/ns/leases/x"},
		{"GET", "/api/v1/services"},
		{"POST", "/"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), r.method, config.Host+r.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := client.Do(req); err == nil {
			resp.Body.Close()
		}
	}
	want := map[string]int{
		"patch services/status": 1, "create events": 1, "create servicel2statuses": 1, "delete servicel2statuses": 1,
		"update leases": 1, "create ": 1,
	}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
