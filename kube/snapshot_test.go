// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/kube"
)

// limit is how long eventually waits. A busy machine needs more than the tests say.
const limit = 30 * time.Second

// eventually fails the test if a condition does not come true in time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatalf("not in %v: %s", limit, what)
		}
	}
}

// run runs something until the test ends.
func run(t *testing.T, f func(context.Context) error) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

func newService(namespace, name string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, ResourceVersion: "1"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "10.96.0.1"},
	}
}

func newSlice(name, service string, nodes ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for _, node := range nodes {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{"10.0.0.1"}, NodeName: &node})
	}
	return s
}

// snapshotOf returns what a Watcher knows, and whether it has read everything.
func snapshotOf(w *kube.Watcher) (cluster.Snapshot, bool) {
	t, synced := w.Tables()
	return t.Snapshot(), synced
}

func serviceNames(s cluster.Snapshot) []string {
	var out []string
	for _, svc := range s.Services {
		out = append(out, svc.Key.String())
	}
	return out
}

func TestWatcher(t *testing.T) {
	t.Parallel()
	client := fake.NewClientset(
		newService("ns", "b"),
		newService("ns", "a"),
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ns", Labels: map[string]string{"team": "red"}}},
		newSlice("a-1", "a", "n1", "n2"),
	)
	var wakes atomic.Int64
	w := kube.NewWatcher(kube.WatcherOptions{
		Client: newClient(t, client), Wake: func() { wakes.Add(1) },
		Nodes: true, Namespaces: true, EndpointSlices: true,
	})
	if _, synced := w.Tables(); synced {
		t.Error("synced before anything was read")
	}
	run(t, w.Run)
	eventually(t, "everything is read", func() bool { _, synced := snapshotOf(w); return synced })

	first, _ := snapshotOf(w)
	if diff := cmp.Diff([]string{"ns/a", "ns/b"}, serviceNames(first)); diff != "" {
		t.Errorf("Services (-want +got):\n%s", diff)
	}
	if len(first.Nodes) != 1 || first.Nodes[0].Name != "n1" {
		t.Errorf("Nodes are %+v", first.Nodes)
	}
	if diff := cmp.Diff(map[string]map[string]string{"ns": {"team": "red"}}, first.Namespaces); diff != "" {
		t.Errorf("Namespaces (-want +got):\n%s", diff)
	}
	a := cluster.Key{Namespace: "ns", Name: "a"}
	want := map[cluster.Key][]cluster.Endpoint{a: {{Node: "n1"}, {Node: "n2"}}}
	if diff := cmp.Diff(want, first.Endpoints); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}

	ctx := t.Context()
	// A reflector that is given the first watch late would miss what comes before.
	eventually(t, "all four are watched", func() bool {
		watches := 0
		for _, action := range client.Actions() {
			if action.GetVerb() == "watch" {
				watches++
			}
		}
		return watches == 4
	})
	before := wakes.Load()
	if _, err := client.CoreV1().Services("ns").Create(ctx, newService("ns", "c"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := client.CoreV1().Services("ns").Delete(ctx, "b", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.DiscoveryV1().EndpointSlices("ns").Create(ctx, newSlice("a-2", "a", "n2", "n3"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := client.DiscoveryV1().EndpointSlices("ns").Delete(ctx, "a-1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	relabelled := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ns", Labels: map[string]string{"team": "blue"}}}
	if _, err := client.CoreV1().Namespaces().Update(ctx, relabelled, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all changes are seen", func() bool {
		s, _ := snapshotOf(w)
		return cmp.Equal([]string{"ns/a", "ns/c"}, serviceNames(s)) &&
			cmp.Equal([]cluster.Endpoint{{Node: "n2"}, {Node: "n3"}}, s.Endpoints[a]) &&
			s.Namespaces["ns"]["team"] == "blue"
	})
	if wakes.Load() == before {
		t.Error("nobody was woken")
	}
	if diff := cmp.Diff([]string{"ns/a", "ns/b"}, serviceNames(first)); diff != "" {
		t.Errorf("an earlier snapshot changed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, first.Endpoints); diff != "" {
		t.Errorf("the endpoints of an earlier snapshot changed (-want +got):\n%s", diff)
	}
}

// EndpointSlices of headless Services are not read: the API server does not send them.
func TestWatcherHeadless(t *testing.T) {
	t.Parallel()
	a, client := newAPI(t, "services", "endpointslices")
	slice := func(service, label string) {
		a.mu.Lock()
		defer a.mu.Unlock()
		o := map[string]any{
			"metadata":    map[string]any{"name": service, "namespace": "ns", "labels": map[string]any{"kubernetes.io/service-name": service}},
			"addressType": "IPv4",
			"endpoints":   []any{map[string]any{"addresses": []any{"10.244.1.1"}, "nodeName": "n1"}},
		}
		if label != "" {
			o["metadata"].(map[string]any)["labels"].(map[string]any)[label] = ""
		}
		a.put("endpointslices", service, o)
	}
	slice("web", "")
	slice("db", "service.kubernetes.io/headless")
	w := kube.NewWatcher(kube.WatcherOptions{Client: client, Wake: func() {}, EndpointSlices: true})
	run(t, w.Run)
	eventually(t, "everything is read", func() bool { _, synced := snapshotOf(w); return synced })
	s, _ := snapshotOf(w)
	want := map[cluster.Key][]cluster.Endpoint{{Namespace: "ns", Name: "web"}: {{Node: "n1"}}}
	if diff := cmp.Diff(want, s.Endpoints); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
}

// An outage of the API server ends watches; then everything is listed again.
func TestWatcherReconnect(t *testing.T) {
	t.Parallel()
	client := fake.NewClientset(newService("ns", "a"), newService("ns", "b"))
	watches := make(chan *watch.FakeWatcher, 10)
	client.PrependWatchReactor("services", func(clienttesting.Action) (bool, watch.Interface, error) {
		w := watch.NewFake()
		watches <- w
		return true, w, nil
	})
	seen := make(chan []string, 1000)
	var w *kube.Watcher
	w = kube.NewWatcher(kube.WatcherOptions{Client: newClient(t, client), Wake: func() {
		if s, synced := snapshotOf(w); synced {
			seen <- serviceNames(s)
		}
	}})
	run(t, w.Run)
	first := <-watches
	// While nobody watches, one goes and one comes.
	ctx := t.Context()
	if err := client.CoreV1().Services("ns").Delete(ctx, "b", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Services("ns").Create(ctx, newService("ns", "c"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	first.Error(&metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonExpired, Code: 410})
	first.Stop()
	<-watches
	eventually(t, "the second list is seen", func() bool {
		s, _ := snapshotOf(w)
		return cmp.Equal([]string{"ns/a", "ns/c"}, serviceNames(s))
	})
	close(seen)
	var got [][]string
	for names := range seen {
		got = append(got, names)
	}
	want := [][]string{{"ns/a", "ns/b"}, {"ns/a", "ns/c"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what was seen, in order (-want +got):\n%s", diff)
	}
}

// A new leader sees what the old one wrote, though no watch has told it yet.
func TestWatcherRefresh(t *testing.T) {
	t.Parallel()
	written := func(name, version, addr string) *corev1.Service {
		s := newService("ns", name)
		s.ResourceVersion = version
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: addr}}
		return s
	}
	client := fake.NewClientset(written("a", "9", "192.0.2.1"), written("b", "10", "192.0.2.2"))
	client.PrependWatchReactor("services", func(clienttesting.Action) (bool, watch.Interface, error) {
		return true, watch.NewFake(), nil // says nothing
	})
	w := kube.NewWatcher(kube.WatcherOptions{Client: newClient(t, client), Wake: func() {}})
	run(t, w.Run)
	eventually(t, "everything is read", func() bool { _, synced := snapshotOf(w); return synced })

	failed := false
	client.PrependReactor("list", "services", func(clienttesting.Action) (bool, runtime.Object, error) {
		if !failed {
			failed = true
			return true, nil, errors.New("not now")
		}
		return true, &corev1.ServiceList{Items: []corev1.Service{
			*written("a", "10", "192.0.2.11"), *written("b", "9", "192.0.2.12"), *written("c", "11", "192.0.2.13"),
		}}, nil
	})
	if err := w.Refresh(t.Context()); err != nil {
		t.Fatalf("refresh: %v", err)
	}
	s, _ := snapshotOf(w)
	got := make(map[string]string)
	for _, svc := range s.Services {
		got[svc.Name] = svc.Ingress[0]
	}
	want := map[string]string{"a": "192.0.2.11", "b": "192.0.2.2", "c": "192.0.2.13"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := w.Refresh(ctx); err == nil {
		t.Error("canceled, and no error")
	}
}

func TestConfigMap(t *testing.T) {
	t.Parallel()
	client := fake.NewClientset()
	var wakes atomic.Int64
	c := kube.NewConfigMap(kube.ConfigMapOptions{
		Client: newClient(t, client), Namespace: "metallb-system", Name: "config", Wake: func() { wakes.Add(1) },
	})
	if _, read := c.Document(); read {
		t.Error("read before it ran")
	}
	run(t, c.Run)
	eventually(t, "it is read", func() bool { _, read := c.Document(); return read })
	if doc, _ := c.Document(); doc.Err == nil || doc.Source != "configmap metallb-system/config" {
		t.Errorf("the document of no ConfigMap is %+v", doc)
	}
	eventually(t, "it is watched", func() bool {
		return len(client.Actions()) == 2
	})
	m := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: "config", UID: "u"},
		Data:       map[string]string{"config": "peers: []"},
	}
	maps := client.CoreV1().ConfigMaps("metallb-system")
	ctx := t.Context()
	steps := []struct {
		name string
		do   func() error
		text string
		err  string
	}{
		{"created", func() error { _, err := maps.Create(ctx, m, metav1.CreateOptions{}); return err }, "peers: []", ""},
		{"without the key", func() error {
			other := m.DeepCopy()
			other.Data = map[string]string{"other": "x"}
			_, err := maps.Update(ctx, other, metav1.UpdateOptions{})
			return err
		}, "", `no key "config"`},
		{"deleted", func() error { return maps.Delete(ctx, "config", metav1.DeleteOptions{}) }, "", "not found"},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		eventually(t, s.name, func() bool {
			doc, _ := c.Document()
			text := ""
			if doc.Err != nil {
				text = doc.Err.Error()
			}
			return string(doc.Text) == s.text && text == s.err
		})
	}
	if c.UID() != "u" {
		t.Errorf("the UID is %q", c.UID())
	}
}

// A condition that the controller writes is no news for an agent. An address is.
func TestWatcherNoConditions(t *testing.T) {
	t.Parallel()
	for _, without := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a, config := newPatientAPI("services")
			a.keeps = true
			c, err := kube.NewClient(config)
			if err != nil {
				t.Fatal(err)
			}
			var wakes atomic.Int64
			w := kube.NewWatcher(kube.WatcherOptions{Client: c, Wake: func() { wakes.Add(1) }, NoConditions: without})
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- w.Run(ctx) }()
			// set writes a status, and returns how often the loop is woken and how many
			// conditions it sees.
			set := func(status string) (woken int64, conditions int) {
				before := wakes.Load()
				a.set("services", "web", "{}", 1, `"status":`+status)
				time.Sleep(10 * time.Second)
				synctest.Wait()
				s, _ := snapshotOf(w)
				return wakes.Load() - before, len(s.Services[0].Conditions)
			}
			const address, condition = `"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}`, `"conditions":[{"type":"heraldlb.io/Announced","status":"True","reason":"Announced"}]`
			if woken, _ := set("{}"); woken == 0 {
				t.Error("a new Service wakes nobody")
			}
			if woken, _ := set("{" + address + "}"); woken == 0 {
				t.Error("an address wakes nobody")
			}
			woken, conditions := set("{" + address + "," + condition + "}")
			if woken > 0 == without || conditions > 0 == without {
				t.Errorf("without conditions %v: a condition wakes %d times, and %d are seen", without, woken, conditions)
			}
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}
