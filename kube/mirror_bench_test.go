// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// manyServices is how many Services a benchmark has, each with an EndpointSlice.
const manyServices = 10000

func benchService(i, version int) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: fmt.Sprintf("team-%02d", i/200), Name: fmt.Sprintf("service-%05d", i), UID: "c3b1f6a4-0000-0000-0000-000000000000",
			ResourceVersion: fmt.Sprint(version), Labels: map[string]string{"app": fmt.Sprint(i)},
		},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, ClusterIPs: []string{"10.96.0.1"}, Selector: map[string]string{"app": fmt.Sprint(i)},
			Ports: []corev1.ServicePort{{Port: 80}, {Port: 443}},
		},
	}
}

func benchSlice(i, nodes int) *discoveryv1.EndpointSlice {
	name := fmt.Sprintf("service-%05d", i)
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: fmt.Sprintf("team-%02d", i/200), Name: name + "-x7k2p", Labels: map[string]string{discoveryv1.LabelServiceName: name},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for n := range nodes {
		node := fmt.Sprintf("node-%d", (i+n)%100)
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{"10.0.0.1"}, NodeName: &node})
	}
	return s
}

// benchStores returns the stores of a Watcher that reflectors of Services and
// EndpointSlices fill.
func benchStores(w *Watcher) (services, slices cache.ReflectorStore) {
	return w.services, w.endpoints.mirror
}

func benchFill(b *testing.B) (w *Watcher, services, slices cache.ReflectorStore) {
	b.Helper()
	w = NewWatcher(WatcherOptions{Wake: func() {}, EndpointSlices: true})
	services, slices = benchStores(w)
	var all, of []any
	for i := range manyServices {
		all, of = append(all, benchService(i, 1)), append(of, benchSlice(i, 3))
	}
	if err := services.Replace(all, ""); err != nil {
		b.Fatal(err)
	}
	if err := slices.Replace(of, ""); err != nil {
		b.Fatal(err)
	}
	if s, read := w.Tables(); !read || s.Services.Len() != manyServices || s.Endpoints.Len() != manyServices {
		b.Fatal("not all was read")
	}
	return w, services, slices
}

// BenchmarkMirrorList reads all Services and EndpointSlices, and counts what is kept
// of them.
func BenchmarkMirrorList(b *testing.B) {
	b.ReportAllocs()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var w *Watcher
	for b.Loop() {
		w, _, _ = benchFill(b)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc)-float64(before.HeapAlloc), "kept-B")
	runtime.KeepAlive(w)
}

// BenchmarkMirrorService changes one Service and reads all.
func BenchmarkMirrorService(b *testing.B) {
	w, services, _ := benchFill(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := services.Update(benchService(i%manyServices, i+2)); err != nil {
			b.Fatal(err)
		}
		w.Tables()
	}
}

// BenchmarkMirrorEndpoints changes the endpoints of one Service and reads all.
func BenchmarkMirrorEndpoints(b *testing.B) {
	w, _, slices := benchFill(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := slices.Update(benchSlice(i%manyServices, 1+(i/manyServices+i)%3)); err != nil {
			b.Fatal(err)
		}
		w.Tables()
	}
}

// BenchmarkMirrorBurst changes Services that nobody reads in between.
func BenchmarkMirrorBurst(b *testing.B) {
	_, services, _ := benchFill(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := services.Update(benchService(i%manyServices, i+2)); err != nil {
			b.Fatal(err)
		}
	}
}
