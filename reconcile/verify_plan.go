// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"fmt"
	"time"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
)

// A planVerifier makes all decisions of each pass of a controller from scratch, and compares. Its
// past is that of the controller. The zero planVerifier does nothing.
type planVerifier struct {
	allocator *alloc.Allocator // nil: it does nothing
	judge     condition.Judge

	plan assign.Plan // of this pass
}

func newPlanVerifier(ignoreExclude bool) planVerifier {
	return planVerifier{allocator: alloc.New(nil), judge: condition.Judge{IgnoreExclude: ignoreExclude}}
}

// assigned decides which Service has which address.
func (f *planVerifier) assigned(s cluster.Tables, opts assign.Options) {
	if f.allocator != nil {
		f.plan = assign.Assign(s.Snapshot(), f.allocator, opts)
	}
}

// announced adds the condition Announced.
func (f *planVerifier) announced(s cluster.Tables, o condition.Observed, class string, now time.Time) {
	if f.allocator != nil {
		f.plan = f.judge.Complete(f.plan, s.Snapshot(), o, class, now)
	}
}

// compare returns the first difference between the plan and the one with these tables;
// empty: there is none.
func (f *planVerifier) compare(s cluster.Tables, got assign.PlanTables) string {
	if f.allocator == nil || s.Config == nil {
		return ""
	}
	for i := range f.plan.Updates {
		want := &f.plan.Updates[i]
		if is, _ := got.Updates.Get(want.Service.Key); !want.Same(is) {
			return fmt.Sprintf("update of %s: %+v is not %+v", want.Service.Key, is, want)
		}
	}
	if a, b := got.Updates.Len(), len(f.plan.Updates); a != b {
		return fmt.Sprintf("%d updates, want %d", a, b)
	}
	want, is := fmt.Sprint(f.plan.Pools, f.plan.Clashes, f.plan.Events), fmt.Sprint(got.Pools, got.Clashes, got.Events)
	if want != is {
		return fmt.Sprintf("pools, clashes and events: %s is not %s", is, want)
	}
	return ""
}
