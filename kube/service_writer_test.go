// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/kube/object"
)

// assigned is the Update that gives a version of a Service an address.
func assigned(name, version, addr string) assign.Update {
	u := assign.Update{
		Service: &cluster.Service{Key: cluster.Key{Namespace: "ns", Name: name}, ResourceVersion: version},
		Ingress: []netip.Addr{netip.MustParseAddr(addr)},
		Pool:    "web",
		Condition: &cluster.Condition{
			Type: assign.ConditionAddressAssigned, True: true, Reason: assign.ReasonAssigned, Message: addr + " from pool web",
		},
	}
	u.Events = []cluster.Event{{Reason: assign.EventAssigned, Message: "Assigned IP " + addr}}
	return u
}

// A harness is a Writer, its Recorder, and an API server that counts.
type harness struct {
	client *fake.Clientset
	writer *kube.ServiceWriter

	mu      sync.Mutex // guards the fields below
	patches []string   // names of the Services patched, in order
	fail    func(name string) error
}

func newHarness(t *testing.T, objects ...runtime.Object) *harness {
	h := &harness{client: fake.NewClientset(objects...)}
	h.client.PrependReactor("patch", "services", func(a clienttesting.Action) (bool, runtime.Object, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		name := a.(clienttesting.PatchAction).GetName()
		h.patches = append(h.patches, name)
		if h.fail != nil {
			if err := h.fail(name); err != nil {
				return true, nil, err
			}
		}
		return false, nil, nil
	})
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	client := newClient(t, h.client)
	events := kube.NewRecorder(client, "herald-controller", log)
	h.writer = kube.NewServiceWriter(kube.ServiceWriterOptions{Client: client, Events: events, Logger: log})
	run(t, events.Run)
	return h
}

// set replaces what the writer is to write.
func (h *harness) set(updates ...assign.Update) { h.writer.Set(assign.TableOf(updates)) }

func (h *harness) patched() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.patches)
}

func (h *harness) events(t *testing.T) []string {
	t.Helper()
	list, err := h.client.CoreV1().Events("ns").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range list.Items {
		out = append(out, e.Type+" "+e.Reason+" "+e.InvolvedObject.Name)
	}
	slices.Sort(out)
	return out
}

func (h *harness) service(t *testing.T, name string) *corev1.Service {
	t.Helper()
	svc, err := h.client.CoreV1().Services("ns").Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return svc
}

func TestWriter(t *testing.T) {
	t.Parallel()
	a := newService("ns", "a")
	a.Status.Conditions = []metav1.Condition{{Type: "other.example/Ready", Status: "True", Reason: "Theirs"}}
	h := newHarness(t, a, newService("ns", "b"))
	run(t, h.writer.Run)

	h.set(assigned("a", "1", "192.0.2.1"))
	eventually(t, "the event is written", func() bool { return len(h.events(t)) == 1 })
	// The Plan comes again until the snapshot shows what was written.
	again := assigned("a", "1", "192.0.2.1")
	again.Events = nil
	h.set(again)
	h.set(again, assigned("b", "1", "192.0.2.2"))
	eventually(t, "both events are written", func() bool { return len(h.events(t)) == 2 })
	if diff := cmp.Diff([]string{"a", "b"}, h.patched()); diff != "" {
		t.Errorf("patched (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Normal IPAllocated a", "Normal IPAllocated b"}, h.events(t)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	svc := h.service(t, "a")
	if diff := cmp.Diff([]corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}, svc.Status.LoadBalancer.Ingress); diff != "" {
		t.Errorf("ingress (-want +got):\n%s", diff)
	}
	if got := svc.Annotations[assign.AnnotationPool]; got != "web" {
		t.Errorf("the annotation is %q", got)
	}
	if n := len(svc.Status.Conditions); n != 2 {
		t.Errorf("%d conditions, want ours and theirs: %+v", n, svc.Status.Conditions)
	}

	h.set(assign.Update{Service: &cluster.Service{Key: cluster.Key{Namespace: "ns", Name: "a"}, ResourceVersion: "2"}})
	eventually(t, "everything of ours is removed", func() bool {
		svc := h.service(t, "a")
		_, annotated := svc.Annotations[assign.AnnotationPool]
		return len(svc.Status.LoadBalancer.Ingress) == 0 && !annotated && len(svc.Status.Conditions) == 1
	})
	if got := h.service(t, "a").Status.Conditions[0].Type; got != "other.example/Ready" {
		t.Errorf("the condition that is left is %s", got)
	}
}

// A Service that was written, and is as the write left it, is written again when a later
// Plan wants something else: another pool gave way, say.
func TestWriterChangesItsMind(t *testing.T) {
	t.Parallel()
	h := newHarness(t, newService("ns", "a"))
	run(t, h.writer.Run)
	h.set(assigned("a", "1", "192.0.2.1"))
	eventually(t, "the first is written", func() bool { return len(h.events(t)) == 1 })
	left := h.service(t, "a").ResourceVersion
	h.set() // it is as it should be
	h.set(assigned("a", left, "192.0.2.2"))
	eventually(t, "the second is written", func() bool {
		in := h.service(t, "a").Status.LoadBalancer.Ingress
		return len(in) == 1 && in[0].IP == "192.0.2.2"
	})
	text := assigned("a", left, "192.0.2.2")
	text.Condition = &cluster.Condition{Type: assign.ConditionAddressAssigned, Reason: "Exhausted", Message: "pool web: 1 of 1 in use"}
	h.set(text)
	eventually(t, "another condition alone is written", func() bool {
		c := h.service(t, "a").Status.Conditions
		return len(c) == 1 && c[0].Reason == "Exhausted"
	})
}

func TestWriterFailures(t *testing.T) {
	t.Parallel()
	services := schema.GroupResource{Resource: "services"}
	h := newHarness(t, newService("ns", "conflict"), newService("ns", "flaky"))
	failures := 0
	h.fail = func(name string) error {
		switch {
		case name == "conflict":
			return apierrors.NewConflict(services, name, errors.New("another version"))
		case name == "flaky" && failures < 3:
			failures++
			return apierrors.NewInternalError(errors.New("not now"))
		}
		return nil
	}
	run(t, h.writer.Run)
	h.set(
		assigned("conflict", "1", "192.0.2.1"),
		assigned("flaky", "1", "192.0.2.2"),
		assigned("gone", "1", "192.0.2.3"),
	)
	eventually(t, "the flaky one is written", func() bool { return len(h.events(t)) == 1 })
	got := h.patched()
	slices.Sort(got)
	want := []string{"conflict", "flaky", "flaky", "flaky", "flaky", "gone"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("patched (-want +got):\n%s", diff)
	}

	// With the newer version the event is told that could not be before.
	h.mu.Lock()
	h.fail = nil
	h.mu.Unlock()
	newer := assigned("conflict", "2", "192.0.2.1")
	newer.Events = nil
	h.set(newer)
	eventually(t, "the newer version is written", func() bool { return len(h.events(t)) == 2 })
}

// The event of an address is written though a watch shows the address before the write that
// carries it is answered, and though the event is of an earlier write, which failed.
func TestWriterEventsBeforeAnswer(t *testing.T) {
	t.Parallel()
	h := newHarness(t, newService("ns", "a"))
	arrived, answer := make(chan struct{}), make(chan struct{})
	tries := 0
	h.fail = func(name string) error {
		if tries++; tries == 1 {
			return apierrors.NewConflict(schema.GroupResource{Resource: "services"}, name, errors.New("another version"))
		}
		close(arrived)
		<-answer
		return nil
	}
	run(t, h.writer.Run)
	h.set(assigned("a", "1", "192.0.2.1"))
	eventually(t, "the first try", func() bool { return len(h.patched()) == 1 })
	newer := assigned("a", "2", "192.0.2.1")
	newer.Events = nil
	h.set(newer)
	<-arrived
	h.set()
	close(answer)
	eventually(t, "the event", func() bool { return slices.Equal(h.events(t), []string{"Normal IPAllocated a"}) })
}

// What nobody wants any more is not written, nor anything by one who has
// stopped.
func TestWriterStopped(t *testing.T) {
	t.Parallel()
	h := newHarness(t, newService("ns", "a"), newService("ns", "b"))
	h.set(assigned("a", "1", "192.0.2.1"))
	h.set(assigned("b", "1", "192.0.2.2"))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- h.writer.Run(ctx) }()
	eventually(t, "b is written", func() bool { return len(h.events(t)) == 1 })
	stop()
	if err := <-done; err != nil {
		t.Fatalf("run: %v", err)
	}
	h.set(assigned("a", "1", "192.0.2.1"))
	if diff := cmp.Diff([]string{"b"}, h.patched()); diff != "" {
		t.Errorf("patched (-want +got):\n%s", diff)
	}
	run(t, h.writer.Run)
	eventually(t, "a is written when it runs again", func() bool { return len(h.patched()) == 2 })
}

func TestWriterPatch(t *testing.T) {
	t.Parallel()
	old := cluster.Condition{Type: assign.ConditionAddressAssigned, True: true, Reason: assign.ReasonAssigned, Message: "before"}
	same := assigned("a", "7", "192.0.2.1")
	same.Service.Conditions = []cluster.Condition{old}
	other := assigned("a", "7", "192.0.2.1")
	other.Service.Conditions = []cluster.Condition{old}
	other.Condition = &cluster.Condition{Type: assign.ConditionAddressAssigned, Reason: "PoolExhausted", Message: "none" + strings.Repeat("\x1b", 5000)}
	tests := []struct {
		name       string
		update     assign.Update
		transition bool
	}{
		{"a new condition has a transition time", assigned("a", "7", "192.0.2.1"), true},
		{"another message leaves it as it is", same, false},
		{"another status changes it", other, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHarness(t, newService("ns", "a"))
			run(t, h.writer.Run)
			h.set(tt.update)
			eventually(t, "it is written", func() bool { return len(h.events(t)) == 1 })
			var patch struct {
				Metadata struct{ ResourceVersion string }
				Status   struct {
					Conditions []map[string]string
				}
			}
			for _, action := range h.client.Actions() {
				if p, ok := action.(clienttesting.PatchAction); ok {
					if p.GetSubresource() != "status" {
						t.Errorf("the patch is of subresource %q", p.GetSubresource())
					}
					if err := json.Unmarshal(p.GetPatch(), &patch); err != nil {
						t.Fatal(err)
					}
				}
			}
			if patch.Metadata.ResourceVersion != "7" {
				t.Errorf("the patch is for version %q", patch.Metadata.ResourceVersion)
			}
			if m := patch.Status.Conditions[0]["message"]; len(m) > 1024 || strings.Contains(m, "\x1b") {
				t.Errorf("a message of %d bytes: %.40q", len(m), m)
			}
			if got := patch.Status.Conditions[0]["lastTransitionTime"] != ""; got != tt.transition {
				t.Errorf("transition time in the patch: %v, want %v", got, tt.transition)
			}
		})
	}
}

// A status that another load balancer wrote gets a condition, and stays as it is.
func TestWriterForeign(t *testing.T) {
	t.Parallel()
	svc := newService("ns", "a")
	svc.Annotations = map[string]string{assign.AnnotationPool: "theirs"}
	svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{
		{Hostname: "lb.example.com", Ports: []corev1.PortStatus{{Port: 80, Protocol: corev1.ProtocolTCP}}},
		{IP: "10.0.0.5", IPMode: new(corev1.LoadBalancerIPModeProxy)},
	}
	h := newHarness(t, svc.DeepCopy())
	run(t, h.writer.Run)
	h.set(assign.Update{
		Service: object.FromService(svc), Foreign: true,
		Condition: &cluster.Condition{Type: assign.ConditionAddressAssigned, Reason: assign.ReasonForeign, Message: "theirs"},
	})
	eventually(t, "the condition is written", func() bool { return len(h.service(t, "a").Status.Conditions) == 1 })
	now := h.service(t, "a")
	if diff := cmp.Diff(svc.Status.LoadBalancer, now.Status.LoadBalancer); diff != "" {
		t.Errorf("the addresses (-want +got):\n%s", diff)
	}
	if got := now.Annotations[assign.AnnotationPool]; got != "theirs" {
		t.Errorf("the annotation says %q", got)
	}
}

// An event about a Node is where kubectl describe looks for it.
func TestNodeEvent(t *testing.T) {
	t.Parallel()
	api := fake.NewClientset()
	events := kube.NewRecorder(newClient(t, api), "herald-agent", slog.New(slog.DiscardHandler))
	run(t, events.Run)
	events.Node("n1", cluster.Event{Warning: true, Reason: "BGPSessionDown", Message: "it is down"})
	var list *corev1.EventList
	eventually(t, "the event is written", func() bool {
		var err error
		list, err = api.CoreV1().Events(metav1.NamespaceDefault).List(t.Context(), metav1.ListOptions{})
		return err == nil && len(list.Items) == 1
	})
	e := list.Items[0]
	want := corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: "n1", UID: "n1"}
	if e.InvolvedObject != want || e.Type != corev1.EventTypeWarning || e.Reason != "BGPSessionDown" || e.Source.Component != "herald-agent" {
		t.Errorf("the event is %+v", e)
	}
}

// An address is written before the conditions of Services that have theirs, however many
// have been waiting.
func TestWriterAddressesFirst(t *testing.T) {
	t.Parallel()
	const many = 200
	objects := []runtime.Object{newService("ns", "zzz")}
	var updates []assign.Update
	for i := range many {
		name := fmt.Sprintf("a%03d", i)
		objects = append(objects, newService("ns", name))
		u := assigned(name, "1", fmt.Sprint("192.0.2.", i))
		u.Service.Ingress = []string{fmt.Sprint("192.0.2.", i)}
		updates = append(updates, u)
	}
	h := newHarness(t, objects...)
	started, released := make(chan struct{}, many+1), make(chan struct{})
	h.fail = func(string) error {
		h.mu.Unlock() // others may ask meanwhile
		defer h.mu.Lock()
		started <- struct{}{}
		<-released
		return nil
	}
	run(t, h.writer.Run)
	h.set(updates...)
	<-started
	h.set(append(updates, assigned("zzz", "1", "192.0.2.250"))...)
	time.Sleep(100 * time.Millisecond) // so that the address waits, too
	close(released)
	eventually(t, "the address", func() bool { return slices.Contains(h.patched(), "zzz") })
	if at := slices.Index(h.patched(), "zzz"); at > many/2 {
		t.Errorf("the address was written after %d conditions", at)
	}
}
