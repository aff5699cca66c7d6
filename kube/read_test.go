// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/kube"
)

func TestRead(t *testing.T) {
	at := func(namespace, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": name}}
	}
	c := newClient(t, fake.NewClientset(
		&corev1.Service{ObjectMeta: at("shop", "a")}, &corev1.Service{ObjectMeta: at("lab", "b")},
		&corev1.Namespace{ObjectMeta: at("", "shop")}, &corev1.Namespace{ObjectMeta: at("", "lab")}))
	s, err := kube.Read(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, svc := range s.Services {
		names = append(names, svc.Key.String())
	}
	if diff := cmp.Diff([]string{"lab/b", "shop/a"}, names); diff != "" {
		t.Errorf("Services (-want +got):\n%s", diff)
	}
	want := map[string]map[string]string{"shop": {"app": "shop"}, "lab": {"app": "lab"}}
	if diff := cmp.Diff(want, s.Namespaces); diff != "" {
		t.Errorf("Namespaces (-want +got):\n%s", diff)
	}
}
