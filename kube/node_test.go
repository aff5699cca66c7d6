// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/heraldlb/herald/cluster"
)

func TestDrain(t *testing.T) {
	t.Parallel()
	other := map[string]string{"example.com/x": "y"}
	objects := fake.NewClientset(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Annotations: other}})
	c := newClient(t, objects)
	for _, want := range []cluster.Drain{
		{Since: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), Force: true},
		{},
	} {
		if err := c.Drain(t.Context(), "n1", want); err != nil {
			t.Fatal(err)
		}
		n, err := c.Node(t.Context(), "n1")
		if err != nil {
			t.Fatal(err)
		}
		if n.Drain != want {
			t.Errorf("drain is %v, want %v", n.Drain, want)
		}
	}
	n, err := objects.CoreV1().Nodes().Get(t.Context(), "n1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(n.Annotations) != 1 || n.Annotations["example.com/x"] != "y" {
		t.Errorf("annotations after all: %v", n.Annotations)
	}
	if err := c.Drain(t.Context(), "n2", cluster.Drain{}); err == nil {
		t.Error("a node that is not there drains")
	}
}
