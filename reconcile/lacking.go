// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"maps"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// A lacking has why Services lack something once the updates are written. The loop that
// decides owns it.
type lacking struct {
	reason lackReason

	services table.Table[cluster.Key, *cluster.Service]
	updates  table.Table[cluster.Key, *assign.Update]

	reasons map[cluster.Key]status.Reason // of those that lack it
	count   map[status.Reason]int         // that next returned; nil: it has changed since
}

// A lackReason returns why a Service lacks something, once an update is written; nil: there
// is none. It is empty if the Service has it.
type lackReason func(svc *cluster.Service, u *assign.Update) status.Reason

// next returns how many Services lack it, by reason. The map is the caller's to read.
func (u *lacking) next(services table.Table[cluster.Key, *cluster.Service], updates table.Table[cluster.Key, *assign.Update]) map[status.Reason]int {
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
		var reason status.Reason
		if svc, ok := services.Get(key); ok {
			update, _ := updates.Get(key)
			reason = u.reason(svc, update)
		}
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

// unassigned is why a Service lacks an address.
func unassigned(svc *cluster.Service, u *assign.Update) status.Reason {
	c := svc.Condition(assign.ConditionAddressAssigned)
	if u != nil {
		c = u.Condition
	}
	return whyNot(c)
}

// unannounced is why no node announces a Service that has an address.
func unannounced(svc *cluster.Service, u *assign.Update) status.Reason {
	c := svc.Condition(condition.TypeAnnounced)
	switch {
	case u == nil:
	case u.Announced != nil:
		c = u.Announced
	case u.Unannounced || u.Condition == nil:
		c = nil
	}
	reason := whyNot(c)
	if reason == status.NoAddress {
		return ""
	}
	return reason
}

// whyNot returns the reason of a condition that is False; empty if it is not.
func whyNot(c *cluster.Condition) status.Reason {
	if c == nil || c.True {
		return ""
	}
	return c.Reason
}
