// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/cluster/clustertest"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/source"
)

// A Service that waits for an address while there is no configuration says so, and
// nothing reports a ConfigMap that does not exist.
func TestNoConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := clustertest.Service("default", "other")
		other.Class = "example.com/other"
		plain := clustertest.Service("default", "plain")
		plain.LoadBalancer = false
		kept := services("kept=192.0.2.1")[0]
		var told []cluster.Event
		opts := reconcile.ControllerOptions{ConfigEvents: func(e cluster.Event) { told = append(told, e) }}
		s := newStageWith(t, opts, unread, services("a")[0], kept, other, plain)
		s.change(func() {
			s.doc = &source.Document{Source: "configmap x", Err: fmt.Errorf("%w, nor are there resources", source.ErrNotFound)}
		})
		wants(t, "for a moment", s.heard(0))
		const why = "there is no configuration: configmap x: not found, nor are there resources"
		wants(t, "then", s.heard(time.Minute), `a !AllocationFailed: Failed to allocate IP for "default/a": NoConfiguration: `+why)
		wants(t, "its condition", s.wrote(0), "a NoConfiguration")
		wants(t, "nothing changes", s.heard(time.Hour))
		if got := s.report.Unassigned["NoConfiguration"]; got != 1 {
			t.Errorf("%d Services count as unassigned for want of a configuration, want 1", got)
		}
		if len(told) > 0 {
			t.Errorf("events about the ConfigMap: %v", told)
		}
		s.stop()

		// Nor does another controller repeat it.
		next := newStageWith(t, opts, unread, s.snapshot.Services...)
		next.change(func() { next.doc = s.doc })
		wants(t, "another controller", next.heard(time.Hour))
		next.write(badConfig)
		events := next.heard(time.Minute)
		if len(events) != 1 || len(told) != 1 || told[0].Reason != source.EventConfigRejected {
			t.Errorf("of a configuration that is refused, events %q and %v", events, told)
		}
		next.write(goodConfig)
		wants(t, "a configuration", next.heard(time.Minute)[:1], `a IPAllocated: Assigned IP ["198.51.100.1"]`)
		next.stop()
	})
}
