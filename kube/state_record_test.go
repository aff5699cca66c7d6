// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/source"
)

// conditionOf returns the status, the reason and the message of a condition; empty
// if there is none.
func conditionOf(status, kind string) string {
	var s struct{ Conditions []metav1.Condition }
	if json.Unmarshal([]byte(status), &s) != nil {
		return ""
	}
	for _, c := range s.Conditions {
		if c.Type == kind {
			return fmt.Sprintf("%s %s %s", c.Status, c.Reason, c.Message)
		}
	}
	return ""
}

// What the controller has in force is there for a process that starts, also when
// there is nothing in force any more.
func TestRecord(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, allPlurals...)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	controller := kube.NewStateWriter(kube.StateWriterOptions{Client: c, Namespace: "ns", Logger: log})
	run(t, controller.Run)
	var wakes atomic.Int64
	start := func() *kube.Record {
		r := kube.NewRecord(kube.RecordOptions{Client: c, Namespace: "ns", Wake: func() { wakes.Add(1) }})
		run(t, r.Run)
		return r
	}
	says := func(r *kube.Record, want source.Source) {
		t.Helper()
		eventually(t, "the record says "+string(want), func() bool {
			got, read := r.Source()
			return read && got == want
		})
	}
	first := start()
	says(first, "")
	controller.Set(reconcile.State{Known: true, Source: source.SourceConfigMap, Notice: "3 objects are ignored"})
	says(first, source.SourceConfigMap)
	eventually(t, "the condition", func() bool {
		return conditionOf(a.status("configurationstates", "controller"), "heraldlb.io/OneSource") == "False ConfigAmbiguous 3 objects are ignored"
	})
	controller.Set(reconcile.State{Known: true, Source: source.SourceConfigMap, InForce: "address-pools: []", Failed: "7"})
	eventually(t, "the pools in force", func() bool {
		got, _ := first.Recorded()
		return string(got.Pools) == "address-pools: []" && got.Withheld == "7"
	})
	controller.Set(reconcile.State{Known: false})
	eventually(t, "nothing is in force", func() bool {
		return conditionOf(a.status("configurationstates", "controller"), "poolReconcilerValid") == "Unknown Reconciled "
	})
	second := start()
	says(second, source.SourceConfigMap)
	if got, _ := second.Recorded(); string(got.Pools) != "address-pools: []" {
		t.Errorf("the pools that were in force are %q", got.Pools)
	}
	if got := conditionOf(a.status("configurationstates", "controller"), "heraldlb.io/OneSource"); got != "" {
		t.Errorf("the condition %q is still there", got)
	}
	controller.Set(reconcile.State{Known: true, Source: source.SourceResources})
	says(first, source.SourceResources)
	if got, _ := first.Recorded(); len(got.Pools) > 0 {
		t.Errorf("the ConfigMap's pools are %q still", got.Pools)
	}
	if wakes.Load() == 0 {
		t.Error("nobody was woken")
	}
}

func TestRecordNotInstalled(t *testing.T) {
	t.Parallel()
	_, c := newAPI(t)
	r := kube.NewRecord(kube.RecordOptions{Client: c, Namespace: "ns", Wake: func() {}})
	if _, read := r.Source(); read {
		t.Error("read before it ran")
	}
	run(t, r.Run)
	eventually(t, "it is known that there is none", func() bool { s, read := r.Source(); return read && s == "" })
}

// A Record that nobody asks for costs no request.
func TestRecordUnasked(t *testing.T) {
	t.Parallel()
	c := fake.NewClientset()
	r := kube.NewRecord(kube.RecordOptions{Client: newClient(t, c), Namespace: "ns", Wake: func() {}})
	s := kube.NewSimilar(kube.SimilarOptions{Client: newClient(t, c), Namespace: "ns", Name: "config", Wake: func() {}})
	run(t, r.Run)
	run(t, s.Run)
	time.Sleep(50 * time.Millisecond)
	if n := len(c.Actions()); n > 0 {
		t.Errorf("%d requests", n)
	}
}

func TestSimilar(t *testing.T) {
	t.Parallel()
	configMap := func(namespace, name, key, text string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string]string{key: text}}
	}
	const text = "peers: []\naddress-pools:\n- name: default\n"
	woken := make(chan struct{}, 10)
	s := kube.NewSimilar(kube.SimilarOptions{
		Client: newClient(t, fake.NewClientset(
			configMap("ns", "metallb", "config", text),
			configMap("ns", "cluster-metallb", "config", `{"x": 1}`+"\n\"address-pools\" : []"),
			configMap("ns", "config", "config", text),
			configMap("ns", "frr-startup", "frr.conf", text),
			configMap("ns", "comment", "config", "# address-pools:\n"),
			configMap("elsewhere", "far", "config", text),
		)), Namespace: "ns", Name: "config", Wake: func() { woken <- struct{}{} },
	})
	if names := s.Names(); names != nil {
		t.Errorf("%v before it ran", names)
	}
	run(t, s.Run)
	<-woken
	if diff := cmp.Diff([]string{"cluster-metallb", "metallb"}, s.Names()); diff != "" {
		t.Errorf("ConfigMaps that hold a configuration (-want +got):\n%s", diff)
	}
}

// Which source is in force is written at once, also if the API server has been slow.
func TestStateUrgent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, config := newPatientAPI(allPlurals...)
		a.keeps, a.delay = true, 3*time.Second
		c, err := kube.NewClient(config)
		if err != nil {
			t.Fatal(err)
		}
		w := kube.NewStateWriter(kube.StateWriterOptions{Client: c, Namespace: "ns", Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		w.Set(reconcile.State{Known: true, Source: source.SourceConfigMap})
		time.Sleep(10 * time.Second) // it is made, and says so
		synctest.Wait()
		if writes, _ := a.counts(); len(writes) != 2 {
			t.Fatalf("it took %q", writes)
		}
		w.Set(reconcile.State{Known: true, Source: source.SourceResources})
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if writes, _ := a.counts(); len(writes) != 1 {
			t.Errorf("another source is not written at once: %q", writes)
		}
		time.Sleep(10 * time.Second) // the API server ends, too
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
