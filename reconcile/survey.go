// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"slices"
	"sync"
	"time"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

// survey returns a function that adds to the Report of a controller that follows what it knows
// of addresses, as the API server shows them. It costs nothing until somebody asks, and then
// once: a follower decides nothing.
func (c *Controller) survey(t cluster.Tables, now time.Time) func(*status.Report) {
	if t.Config == nil {
		return nil
	}
	look := sync.OnceValues(func() (assign.Plan, map[status.Reason]int) {
		s := t.Snapshot()
		unassigned := map[status.Reason]int{}
		for _, svc := range s.Services {
			if have := svc.Condition(assign.ConditionAddressAssigned); have != nil && !have.True {
				unassigned[have.Reason]++
			}
		}
		// Who has no address yet is given none here.
		s.Services = slices.DeleteFunc(slices.Clone(s.Services), func(svc *cluster.Service) bool { return len(svc.Ingress) == 0 })
		opts := c.opts.Assign
		opts.Now = now
		return assign.Assign(s, alloc.New(nil), opts), unassigned
	})
	return func(r *status.Report) {
		plan, unassigned := look()
		r.Pools, r.Clashes, r.Unassigned = plan.Pools, plan.Clashes, unassigned
	}
}
