// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/kube"
)

// record keeps an event in words, "Kind/name Reason: message".
func (a *api) record(method, name string, body []byte) {
	var e corev1.Event
	if err := json.Unmarshal(body, &e); err != nil {
		panic(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	text := fmt.Sprintf("%s/%s %s: %s", e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message)
	if e.Type == corev1.EventTypeWarning {
		text = "!" + text
	}
	if method != "POST" {
		text = fmt.Sprintf("%s %s", method, name)
	}
	a.heard = append(a.heard, text)
}

// newEvents returns the events since the last call.
func (a *api) newEvents() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.heard
	a.heard = nil
	return out
}

// What comes again is counted, while it waits and after that; where counting is not
// allowed, it is written again.
func TestRecorderCounts(t *testing.T) {
	t.Parallel()
	api := fake.NewClientset()
	forbidden := false
	api.PrependReactor("patch", "events", func(clienttesting.Action) (bool, runtime.Object, error) {
		if forbidden {
			return true, nil, errors.New("forbidden")
		}
		return false, nil, nil
	})
	events := kube.NewRecorder(newClient(t, api), "herald-controller", slog.New(slog.NewTextHandler(t.Output(), nil)))
	svc := &cluster.Service{Key: cluster.Key{Namespace: "ns", Name: "a"}, UID: "u", ResourceVersion: "1"}
	up, down := cluster.Event{Reason: "Announced", Message: "announced"}, cluster.Event{Warning: true, Reason: "NoEndpoints", Message: "none"}
	written := func(namespace string) []string {
		list, err := api.CoreV1().Events(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(list.Items, func(a, b corev1.Event) int { return a.FirstTimestamp.Compare(b.FirstTimestamp.Time) })
		var out []string
		for _, e := range list.Items {
			out = append(out, fmt.Sprintf("%s %d", e.Reason, e.Count))
		}
		slices.Sort(out)
		return out
	}
	is := func(what, namespace string, want ...string) {
		t.Helper()
		eventually(t, what+": "+strings.Join(want, ", "), func() bool { return slices.Equal(written(namespace), want) })
	}
	for range 3 {
		events.Service(svc, up)
		events.Service(svc, down)
	}
	run(t, events.Run)
	is("what waited", "ns", "Announced 3", "NoEndpoints 3")
	changed := *svc
	changed.ResourceVersion = "2"
	events.Service(&changed, up)
	is("once more", "ns", "Announced 4", "NoEndpoints 3")
	other := *svc
	other.UID = "another of the name"
	events.Service(&other, up)
	is("another Service", "ns", "Announced 1", "Announced 4", "NoEndpoints 3")
	events.Node("n1", down)
	is("a Node", metav1.NamespaceDefault, "NoEndpoints 1")
	events.Node("n1", down)
	is("a Node again", metav1.NamespaceDefault, "NoEndpoints 2")
	forbidden = true
	events.Service(svc, down)
	is("it may not be changed", "ns", "Announced 1", "Announced 4", "NoEndpoints 1", "NoEndpoints 3")
}

// Whatever an event repeats, its message is short and prints.
func TestRecorderBounds(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, allPlurals...)
	events := kube.NewRecorder(c, "herald-controller", slog.New(slog.DiscardHandler))
	run(t, events.Run)
	events.Node("n1", cluster.Event{Reason: "Announced", Message: "\x1b[2J" + strings.Repeat("x", 100_000)})
	var got []string
	eventually(t, "the event", func() bool { got = append(got, a.newEvents()...); return len(got) > 0 })
	if len(got[0]) > 1100 || strings.Contains(got[0], "\x1b") {
		t.Errorf("an event of %d bytes: %.40q", len(got[0]), got[0])
	}
}

// Where too many events wait, those go that have last occurred longest ago.
func TestRecorderOrder(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, allPlurals...)
	events := kube.NewRecorder(c, "herald-controller", slog.New(slog.DiscardHandler))
	service := func(i int) *cluster.Service {
		return &cluster.Service{Key: cluster.Key{Namespace: "ns", Name: fmt.Sprint("s", i)}, UID: fmt.Sprint(i)}
	}
	const many = 16384
	for i := range many + 2 {
		events.Service(service(i), cluster.Event{Reason: "Announced", Message: "announced"})
	}
	for range 2 * many { // they are one, and take no other's place
		events.Service(service(2), cluster.Event{Reason: "Announced", Message: "announced"})
	}
	run(t, events.Run)
	var got []string
	eventually(t, "three events", func() bool { got = append(got, a.newEvents()...); return len(got) >= 3 })
	// Several are written at a time, in about that order.
	for _, e := range got[:3] {
		var i int
		if _, err := fmt.Sscanf(e, "Service/s%d ", &i); err != nil || i < 2 || i > 20 {
			t.Errorf("one of the first events is %q, want one about the first Services from s2 on", e)
		}
	}
}

// A flood about one object is a few events, and drops no event about another.
func TestRecorderFlood(t *testing.T) {
	t.Parallel()
	const (
		flood = 20000 // more than may wait
		burst = 25
	)
	a, c := newAPI(t, allPlurals...)
	events := kube.NewRecorder(c, "herald-agent", slog.New(slog.DiscardHandler))
	web := &cluster.Service{Key: cluster.Key{Namespace: "ns", Name: "web"}, UID: "1"}
	loud := &cluster.Service{Key: cluster.Key{Namespace: "ns", Name: "loud"}, UID: "2"}
	events.Service(web, cluster.Event{Reason: "Announced", Message: "first"})
	for i := range flood {
		events.Service(loud, cluster.Event{Warning: true, Reason: "AddressConflict", Message: fmt.Sprint("host ", i)})
	}
	events.Service(loud, cluster.Event{Reason: "Announced", Message: "for another reason"})
	const peers = 2 * burst
	for i := range peers {
		events.Node("n1", cluster.Event{Reason: "BGPSessionUp", Message: fmt.Sprint("peer ", i)})
	}
	events.Service(web, cluster.Event{Reason: "Announced", Message: "last"})
	run(t, events.Run)
	var got []string
	last := "Service/web Announced: last"
	about := func(prefix string) (n int) {
		for _, e := range got {
			if strings.HasPrefix(e, prefix) {
				n++
			}
		}
		return n
	}
	eventually(t, "the last events", func() bool {
		got = append(got, a.newEvents()...)
		return slices.Contains(got, last) && about("Node/n1") == peers && about("!Service/loud") == 10 && about("Service/loud") == 1
	})
	// Objects take turns.
	if slices.Index(got, last) > 2*len(got)/3 || !slices.Contains(got, "Service/web Announced: first") || !slices.Contains(got, "Service/loud Announced: for another reason") {
		t.Errorf("the events are %q", got)
	}
	combined := 0
	for _, e := range got {
		if strings.HasPrefix(e, "!Service/loud") && strings.Contains(e, "(combined from similar events): ") {
			combined++
		}
	}
	if combined != 1 {
		t.Errorf("%d of the events about a flood of %d are combined, want 1", combined, flood)
	}
}

// A write that takes long holds up events about its object alone, which stay in order.
func TestRecorderSlowWrite(t *testing.T) {
	t.Parallel()
	var (
		mu      sync.Mutex
		written []string
		release = make(chan struct{})
	)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e corev1.Event
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			panic(err)
		}
		if e.InvolvedObject.Name == "slow" {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		mu.Lock()
		written = append(written, e.InvolvedObject.Name+" "+e.Reason)
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(e)
	}))
	t.Cleanup(server.Close)
	c, err := kube.NewClient(&rest.Config{Host: server.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	of := func(name string) []string {
		mu.Lock()
		defer mu.Unlock()
		var out []string
		for _, w := range written {
			if about, reason, _ := strings.Cut(w, " "); strings.HasPrefix(about, name) {
				out = append(out, reason)
			}
		}
		return out
	}
	events := kube.NewRecorder(c, "herald-controller", slog.New(slog.NewTextHandler(t.Output(), nil)))
	run(t, events.Run)
	var want []string
	for i := range 6 {
		want = append(want, fmt.Sprint("Reason", i))
		events.Node("slow", cluster.Event{Reason: want[i], Message: "m"})
	}
	const others = 50
	for i := range others {
		events.Node(fmt.Sprint("n", i), cluster.Event{Reason: "Reason", Message: "m"})
	}
	eventually(t, "the events about others", func() bool { return len(of("n")) == others })
	if got := of("slow"); len(got) > 0 {
		t.Errorf("the slow writes have ended: %q", got)
	}
	close(release)
	eventually(t, "the events about the slow one, in order", func() bool { return slices.Equal(of("slow"), want) })
}
