// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"log/slog"
	"maps"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/kube"
)

// Where the endpoints of Services are is read where that is allowed, and news of
// those alone that nobody announces.
func TestAnnouncementsReach(t *testing.T) {
	t.Parallel()
	client := fake.NewClientset(
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}},
		newSlice("a-1", "a", "n1"),
	)
	uninstalled(client)
	var wakes atomic.Int64
	all := kube.NewAnnouncements(kube.AnnouncementsOptions{
		Client: newClient(t, client), Namespace: "ns", Wake: func() { wakes.Add(1) }, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	run(t, all.Run)
	var got condition.Observed
	eventually(t, "all is read", func() (read bool) { got, read = all.Announced(); return read })
	a := cluster.Key{Namespace: "ns", Name: "a"}
	if diff := cmp.Diff([]*cluster.Node{{Name: "n1"}}, got.Reach.Nodes); diff != "" {
		t.Errorf("Nodes (-want +got):\n%s", diff)
	}
	want := map[cluster.Key][]cluster.Endpoint{a: {{Node: "n1"}}}
	if diff := cmp.Diff(want, maps.Collect(got.Reach.Endpoints.All())); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
	eventually(t, "both are watched", func() bool {
		watches := 0
		for _, action := range client.Actions() {
			if r := action.GetResource().Resource; action.GetVerb() == "watch" && (r == "nodes" || r == "endpointslices") {
				watches++
			}
		}
		return watches == 2
	})
	before := wakes.Load()
	if err := client.DiscoveryV1().EndpointSlices("ns").Delete(t.Context(), "a-1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there are none", func() bool {
		got, _ := all.Announced()
		return got.Reach.Endpoints.Len() == 0 && wakes.Load() > before
	})

	// Without the right to read them, nothing is known, and nothing waits for it.
	client = fake.NewClientset()
	uninstalled(client)
	client.PrependReactor("list", "endpointslices", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(discoveryv1.Resource("endpointslices"), "", nil)
	})
	none := kube.NewAnnouncements(kube.AnnouncementsOptions{
		Client: newClient(t, client), Namespace: "ns", Wake: func() {}, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	run(t, none.Run)
	eventually(t, "it is known that nothing is", func() bool { got, read := none.Announced(); return read && got.Reach == nil })
}

// uninstalled makes an API server have none of MetalLB's kinds.
func uninstalled(client *fake.Clientset) {
	for _, plural := range []string{l2Plural, bgpPlural} {
		client.PrependReactor("list", plural, func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewNotFound(schema.GroupResource{Group: "metallb.io", Resource: plural}, "")
		})
	}
}
