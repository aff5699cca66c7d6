// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/cluster/clustertest"
	"github.com/heraldlb/herald/reconcile"
)

// An address that another load balancer gives out, too, is in the report, and in
// the log once.
func TestControllerClash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		worker := reconcile.NewWorker()
		w := &scene{wake: worker.Wake, synced: true}
		var log strings.Builder
		var told []string
		c := reconcile.NewController(reconcile.ControllerOptions{
			Worker: worker, Cluster: w, Documents: w, Writer: writer{w}, Reporter: reporter{w},
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
			Events: func(svc *cluster.Service, e cluster.Event) { told = append(told, svc.Key.String()+" "+e.Reason) },
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Lead(ctx) }()
		defer func() {
			stop()
			if err := <-done; err != nil {
				t.Errorf("lead: %v", err)
			}
		}()
		w.write(goodConfig)
		other := clustertest.Service("default", "b")
		other.Class = "example.com/other"
		pass := func(what string, ingress []string, clashes, lines int) {
			t.Helper()
			w.change(func() {
				o := *other
				o.Ingress = ingress
				w.snapshot.Services = append(services("a=198.51.100.1"), &o)
			})
			if len(w.report.Clashes) != clashes || strings.Count(log.String(), "another load balancer gave out") != lines {
				t.Errorf("%s: the report says %+v, the log:\n%s", what, w.report.Clashes, log.String())
			}
		}
		pass("before", nil, 0, 0)
		pass("the other gives it out", []string{"198.51.100.1"}, 1, 1)
		pass("and another", []string{"198.51.100.1", "203.0.113.1"}, 1, 1)
		pass("it takes it back", nil, 0, 1)
		pass("and gives it out again", []string{"198.51.100.1"}, 1, 2)
		if len(told) != 2 || told[0] != "default/b AddressConflict" || told[1] != told[0] {
			t.Errorf("events are %q, want one of the other Service each time it gets the address", told)
		}
	})
}
