// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/heraldlb/herald/kube"
)

// With MetalLB's CRDs, whose status is a subresource, objects say the same. They go on when
// the CRDs change, in either direction.
func TestServiceStatusSubresource(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, l2Plural, bgpPlural, "nodes")
	a.apart = true
	w := kube.NewServiceStatusWriter(kube.ServiceStatusWriterOptions{
		Client: c, Namespace: "ns", Node: "n1", Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	run(t, w.Run)
	peers, writes := 0, 0
	// says has the object say something else, and returns what that took.
	says := func(what string) {
		t.Helper()
		peers++
		peer := fmt.Sprint("r", peers)
		before := a.written()
		announces(w, viaBGP("web", peer))
		eventually(t, what, func() bool { return slices.Equal(a.told(bgpPlural), []string{"n1 shop/web: " + peer}) })
		writes = a.written() - before
	}
	crds := func(apart bool) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.apart = apart
	}
	says("a new object")
	if writes != 2 {
		t.Errorf("a new object took %d writes", writes)
	}
	if says("a change"); writes != 1 {
		t.Errorf("a change took %d writes", writes)
	}
	crds(false)
	says("Herald's CRDs")
	if says("another change"); writes != 1 {
		t.Errorf("a change with Herald's CRDs took %d writes", writes)
	}
	crds(true)
	says("MetalLB's CRDs again")
	if says("another change"); writes != 1 {
		t.Errorf("a change with MetalLB's CRDs took %d writes", writes)
	}
}
