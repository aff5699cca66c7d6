// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/kube"
)

func TestRead(t *testing.T) {
	t.Parallel()
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

func TestReadAll(t *testing.T) {
	t.Parallel()
	c := newClient(t, fake.NewClientset(
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n2"}}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
		&discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Namespace: "shop", Name: "a-1", Labels: map[string]string{discoveryv1.LabelServiceName: "a"}},
			AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{{NodeName: ptr("n1")}},
		},
		&discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Namespace: "shop", Name: "a-2", Labels: map[string]string{discoveryv1.LabelServiceName: "a"}},
			AddressType: discoveryv1.AddressTypeIPv6, Endpoints: []discoveryv1.Endpoint{{NodeName: ptr("n1")}},
		}))
	s, err := kube.ReadAll(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	var nodes []string
	for _, n := range s.Nodes {
		nodes = append(nodes, n.Name)
	}
	if diff := cmp.Diff([]string{"n1", "n2"}, nodes); diff != "" {
		t.Errorf("Nodes (-want +got):\n%s", diff)
	}
	want := map[cluster.Key][]cluster.Endpoint{{Namespace: "shop", Name: "a"}: {{Node: "n1"}, {Node: "n1", IPv6: true}}}
	if diff := cmp.Diff(want, s.Endpoints); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
	if names, err := kube.NodeNames(t.Context(), c); err != nil || len(names) != 2 {
		t.Errorf("names of Nodes: %v, %v", names, err)
	}
	if names, err := kube.NamespaceNames(t.Context(), c); err != nil || !slices.Equal(names, []string{"shop"}) {
		t.Errorf("names of Namespaces: %v, %v", names, err)
	}
}

func ptr[T any](v T) *T { return &v }
