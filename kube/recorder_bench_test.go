// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"log/slog"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// BenchmarkRecorderMemory says what a Recorder keeps after one event about each of 10,000
// Services.
func BenchmarkRecorderMemory(b *testing.B) {
	heap := func() (m runtime.MemStats) {
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m
	}
	before := heap().HeapAlloc
	var r *Recorder
	for b.Loop() {
		r = NewRecorder(nil, "herald-agent", slog.New(slog.DiscardHandler))
		for i := range 10000 {
			id := eventID{about: corev1.ObjectReference{
				APIVersion: "v1", Kind: "Service", Namespace: "default", Name: fmt.Sprintf("web-%05d", i),
				UID: types.UID(fmt.Sprintf("5c3ba3f2-1f6d-4a52-9a3f-0000000%05d", i)),
			}, reason: "nodeAssigned", message: `announcing from node "node-1" with protocol "bgp"`}
			if !r.allow(id) {
				b.Fatal("an event is dropped")
			}
			event, _ := r.correlate(r.newEvent(id, occurrence{about: id.about, at: metav1.Now()}), 1)
			r.correlator.UpdateState(event)
		}
	}
	b.ReportMetric(float64(heap().HeapAlloc-before), "heap-bytes")
	runtime.KeepAlive(r)
}
