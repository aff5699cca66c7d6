// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/cluster"
)

// A slice that waits for the rest of its list has nothing but what its row is made of.
func TestStripEndpointSlice(t *testing.T) {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "web", Name: "front-x7k2p", ResourceVersion: "7",
			Labels:          map[string]string{discoveryv1.LabelServiceName: "front"},
			Annotations:     map[string]string{"endpoints.kubernetes.io/last-change-trigger-time": "2026-11-29T12:00:00Z"},
			OwnerReferences: []metav1.OwnerReference{{Kind: "Service", Name: "front"}},
			ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "kube-controller-manager"}},
		},
		AddressType: discoveryv1.AddressTypeIPv6,
		Ports:       []discoveryv1.EndpointPort{{Port: new(int32(80))}},
	}
	for i, c := range []discoveryv1.EndpointConditions{
		{}, {Ready: new(true)}, {Ready: new(false), Serving: new(true), Terminating: new(true)}, {Ready: new(false)},
	} {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{"fd00::1"}, Conditions: c, NodeName: new(fmt.Sprintf("n%d", i)), Zone: new("a"), Hostname: new("h"),
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: "p"}, Hints: &discoveryv1.EndpointHints{},
		})
	}
	want := endpointSlices.row(slice.DeepCopy())
	if len(want.usable) != 3 {
		t.Fatalf("usable: %v", want.usable)
	}
	m := newMirror(endpointSlices, mirrorOptions[endpointSlice]{})
	m.strip(slice)
	if diff := cmp.Diff(want, endpointSlices.row(slice), cmp.AllowUnexported(endpointSlice{}), cmpopts.EquateComparable(cluster.Key{})); diff != "" {
		t.Errorf("row (-whole +stripped):\n%s", diff)
	}
	rest := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: slice.Namespace, Name: slice.Name, ResourceVersion: "7", Labels: slice.Labels},
		AddressType: slice.AddressType,
	}
	for _, e := range slice.Endpoints {
		rest.Endpoints = append(rest.Endpoints, discoveryv1.Endpoint{Conditions: e.Conditions, NodeName: e.NodeName})
	}
	if diff := cmp.Diff(rest, slice); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}
