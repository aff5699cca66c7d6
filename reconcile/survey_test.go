// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
)

// A controller that follows says what the API server shows: which addresses are in use, and
// which Services lack one. It gives none, and writes nothing.
func TestFollowerSurveys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		worker := reconcile.NewWorker()
		w := &scene{wake: worker.Wake, synced: true, doc: &source.Document{Source: "configmap x", Text: []byte(goodConfig)}}
		w.snapshot.Services = append(services("a=198.51.100.1"), services("b", "c")...)
		w.snapshot.Services[1].Conditions = []cluster.Condition{{Type: assign.ConditionAddressAssigned, Reason: "PoolExhausted", Message: "full"}}
		journal := &status.Journal{}
		c := reconcile.NewController(reconcile.ControllerOptions{
			Worker: worker, Cluster: w, Documents: w, Writer: writer{w}, Reporter: reporter{w}, Logger: verifierLog(t), Journal: journal,
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Follow(ctx) }()
		settle()
		r := w.report
		if r.Survey == nil {
			t.Fatal("it knows nothing")
		}
		for range 2 {
			r.Survey(&r)
		}
		if r.Leading || len(w.updates) > 0 {
			t.Errorf("a follower leads: %v, or writes %v", r.Leading, ingresses(w.updates))
		}
		if len(r.Pools) != 1 || r.Pools[0].InUseV4 != 1 || r.Pools[0].Services != 1 || r.Pools[0].TotalV4.Int64() != 1 {
			t.Errorf("pools %+v", r.Pools)
		}
		if diff := cmp.Diff(map[status.Reason]int{"PoolExhausted": 1}, r.Unassigned); diff != "" {
			t.Errorf("unassigned (-want +got):\n%s", diff)
		}

		w.change(func() { w.snapshot.Services = services("a=198.51.100.1") })
		w.change(func() { w.snapshot.Services = services("a") })
		if all := journal.List(); len(all) < 2 || all[1].Kind != status.ChangeAddress || all[1].Before != "198.51.100.1" || all[1].After != "" {
			t.Errorf("an address that another writer takes is no change: %+v", all)
		}
		r = w.report
		if r.Survey(&r); r.Pools[0].InUseV4 != 0 {
			t.Errorf("an address that nobody has is in use: %+v", r.Pools)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
