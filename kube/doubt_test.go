// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/kube"
)

// A forgetful API server has lists as they are set, and ends watches when told to.
type forgetful struct {
	*fake.Clientset
	list    atomic.Pointer[corev1.ServiceList]
	watches chan *watch.FakeWatcher
}

func newForgetful(services ...*corev1.Service) *forgetful {
	f := &forgetful{Clientset: fake.NewClientset(), watches: make(chan *watch.FakeWatcher, 100)}
	f.lists(services...)
	f.PrependReactor("list", "services", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, f.list.Load(), nil
	})
	f.PrependWatchReactor("services", func(clienttesting.Action) (bool, watch.Interface, error) {
		w := watch.NewFake()
		f.watches <- w
		return true, w, nil
	})
	return f
}

func (f *forgetful) lists(services ...*corev1.Service) {
	all := &corev1.ServiceList{}
	for _, s := range services {
		all.Items = append(all.Items, *s)
	}
	f.list.Store(all)
}

// expire ends a watch so that everything is listed again.
func expire(w *watch.FakeWatcher) {
	w.Error(&metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonExpired, Code: 410})
	w.Stop()
}

func next(t *testing.T, doubts <-chan kube.Doubt) kube.Doubt {
	t.Helper()
	select {
	case d := <-doubts:
		return d
	case <-time.After(10 * time.Second):
		t.Fatal("nothing is in doubt for 10 s")
		return kube.Doubt{}
	}
}

// A list that suddenly lacks most of what is known removes nothing until the API
// server has said the same again.
func TestWatcherDoubt(t *testing.T) {
	t.Parallel()
	a, b, c := newService("ns", "a"), newService("ns", "b"), newService("ns", "c")
	f := newForgetful(a, b)
	doubts := make(chan kube.Doubt, 100)
	w := kube.NewWatcher(kube.WatcherOptions{Client: newClient(t, f.Clientset), Wake: func() {}, Doubt: func(d kube.Doubt) { doubts <- d }})
	run(t, w.Run)
	names := func() []string { s, _ := snapshotOf(w); return serviceNames(s) }
	is := func(what string, want ...string) {
		t.Helper()
		eventually(t, what, func() bool { return slices.Equal(names(), want) })
	}
	is("all is read", "ns/a", "ns/b")

	// Two others in their place: they are new, and the old ones stay.
	first := <-f.watches
	f.lists(c)
	expire(first)
	is("the new one is there at once", "ns/a", "ns/b", "ns/c")
	if diff := cmp.Diff(kube.Doubt{What: "Services", Known: 2}, next(t, doubts)); diff != "" {
		t.Errorf("what is in doubt (-want +got):\n%s", diff)
	}
	// It was a hiccup.
	f.lists(a, b, c)
	second := <-f.watches
	if got := names(); len(got) != 3 {
		t.Errorf("after a hiccup there are %v", got)
	}

	// What a watch tells is believed at once.
	second.Delete(c)
	is("one is deleted", "ns/a", "ns/b")

	// They are gone indeed.
	start := time.Now()
	f.lists()
	expire(second)
	next(t, doubts)
	is("they are gone", []string{}...)
	if took := time.Since(start); took < 3*time.Second {
		t.Errorf("an empty list was believed after %v", took)
	}
	if len(doubts) > 0 {
		t.Errorf("told again: %v", <-doubts)
	}
}

// forget loses an object without telling the watches, which end.
func (a *api) forget(plural, name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.objects[plural], name)
	a.version++
	a.event(plural, "ERROR", map[string]any{
		"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{}, "status": "Failure", "reason": "Expired", "code": http.StatusGone,
	})
}

// The same for resources, and for the ConfigMap.
func TestConfigurationDoubt(t *testing.T) {
	t.Parallel()
	a, client := newAPI(t, allPlurals...)
	a.set("ipaddresspools", "p", `{"addresses":["192.0.2.0/24"]}`, 1)
	doubts := make(chan kube.Doubt, 100)
	r := kube.NewResources(kube.ResourcesOptions{Client: client, Namespace: "ns", Wake: func() {}, Logger: slog.New(slog.DiscardHandler), Doubt: func(d kube.Doubt) { doubts <- d }})
	run(t, r.Run)
	pools := func() int {
		doc, read := r.Document()
		if !read || doc.Resources == nil {
			return -1
		}
		return len(doc.Resources.Objects)
	}
	eventually(t, "the pool is read", func() bool { return pools() == 1 })
	a.forget("ipaddresspools", "p")
	if d := next(t, doubts); d.What != "IPAddressPool resources" || d.Known != 1 || d.Left != 0 {
		t.Errorf("in doubt is %v", d)
	}
	if pools() != 1 {
		t.Error("an empty list took the pool at once")
	}
	eventually(t, "the pool is gone", func() bool { return pools() == 0 })
	a.set("ipaddresspools", "p", `{"addresses":["192.0.2.0/24"]}`, 1)
	eventually(t, "the pool is back", func() bool { return pools() == 1 })
	a.delete("ipaddresspools", "p")
	eventually(t, "a deletion is believed", func() bool { return pools() == 0 })
	if len(doubts) > 0 {
		t.Errorf("in doubt again: %v", <-doubts)
	}
}

func TestConfigMapDoubt(t *testing.T) {
	t.Parallel()
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "config"}, Data: map[string]string{"config": "peers: []"}}
	client := fake.NewClientset(m)
	watches := make(chan *watch.FakeWatcher, 100)
	client.PrependWatchReactor("configmaps", func(clienttesting.Action) (bool, watch.Interface, error) {
		w := watch.NewFake()
		watches <- w
		return true, w, nil
	})
	doubts := make(chan kube.Doubt, 100)
	c := kube.NewConfigMap(kube.ConfigMapOptions{
		Client: newClient(t, client), Namespace: "ns", Name: "config", Wake: func() {}, Doubt: func(d kube.Doubt) { doubts <- d },
	})
	run(t, c.Run)
	there := func() bool { doc, read := c.Document(); return read && doc.Err == nil }
	eventually(t, "it is read", there)
	w := <-watches
	if err := client.CoreV1().ConfigMaps("ns").Delete(t.Context(), "config", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	expire(w)
	if d := next(t, doubts); d.What != "ConfigMap config" {
		t.Errorf("in doubt is %v", d)
	}
	if !there() {
		t.Error("an empty list took the ConfigMap at once")
	}
	eventually(t, "it is gone", func() bool { return !there() })
}
