// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/status"
)

// A process says when it last heard of each kind that it reads, and of no other.
func TestWatches(t *testing.T) {
	objects := fake.NewClientset(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}})
	c := newClient(t, objects)
	if all := c.Watches(); len(all) > 0 {
		t.Errorf("before anything runs: %+v", all)
	}
	woken := make(chan struct{}, 1)
	w := kube.NewWatcher(kube.WatcherOptions{Client: c, Nodes: true, Wake: func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	}})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	// await waits until each kind was heard at a time or later.
	await := func(what string, is func(nodes, services status.Watch) bool) []status.Watch {
		t.Helper()
		for deadline := time.After(time.Minute); ; {
			all := c.Watches()
			if len(all) == 2 && all[0].Kind == "nodes" && all[1].Kind == "services" && is(all[0], all[1]) {
				return all
			}
			select {
			case <-woken:
			case <-time.After(10 * time.Millisecond):
			case <-deadline:
				t.Fatalf("not in a minute: %s; watches %+v", what, all)
			}
		}
	}
	listed := await("both are listed", func(nodes, services status.Watch) bool { return nodes.State == "Listed" && services.State == "Listed" })
	for _, w := range listed {
		if w.Heard.IsZero() || w.Listed.IsZero() || w.Listed.After(w.Heard) {
			t.Errorf("%+v", w)
		}
	}
	if _, err := objects.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n2", ResourceVersion: "7"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	heard := await("a Node is heard", func(nodes, _ status.Watch) bool { return nodes.Heard.After(listed[0].Heard) })
	if !heard[1].Heard.Equal(listed[1].Heard) {
		t.Errorf("a Node counts as news of Services: %+v", heard)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if all := c.Watches(); len(all) > 0 {
		t.Errorf("after the end: %+v", all)
	}
}
