// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"maps"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// unassigned has why Services lack an address once the updates are written. The loop that
// decides owns it.
type unassigned struct {
	services table.Table[cluster.Key, *cluster.Service]
	updates  table.Table[cluster.Key, *assign.Update]

	reasons map[cluster.Key]status.Reason // of those that lack one
	count   map[status.Reason]int         // that next returned; nil: it has changed since
}

// next returns how many Services lack an address, by reason. The map is the caller's to
// read.
func (u *unassigned) next(services table.Table[cluster.Key, *cluster.Service], updates table.Table[cluster.Key, *assign.Update]) map[status.Reason]int {
	if u.reasons == nil {
		u.reasons = map[cluster.Key]status.Reason{}
	}
	dirty := map[cluster.Key]bool{}
	for c := range table.Diff(u.services, services, table.Same) {
		dirty[c.Key] = true
	}
	for c := range table.Diff(u.updates, updates, table.Same) {
		dirty[c.Key] = true
	}
	u.services, u.updates = services, updates
	for key := range dirty {
		reason := reasonUnassigned(services, updates, key)
		if u.reasons[key] == reason {
			continue
		}
		if u.count = nil; reason == "" {
			delete(u.reasons, key)
		} else {
			u.reasons[key] = reason
		}
	}
	if u.count == nil {
		u.count = map[status.Reason]int{}
		for reason := range maps.Values(u.reasons) {
			u.count[reason]++
		}
	}
	return u.count
}

// reasonUnassigned returns why a Service lacks an address; empty if it has one.
func reasonUnassigned(services table.Table[cluster.Key, *cluster.Service], updates table.Table[cluster.Key, *assign.Update], key cluster.Key) status.Reason {
	svc, ok := services.Get(key)
	if !ok {
		return ""
	}
	condition := svc.Condition(assign.ConditionAddressAssigned)
	if u, ok := updates.Get(key); ok {
		condition = u.Condition
	}
	if condition == nil || condition.True {
		return ""
	}
	return condition.Reason
}
