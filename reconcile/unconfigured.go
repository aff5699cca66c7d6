// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"fmt"
	"time"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

// ReasonNoConfiguration is the reason of a ConditionAddressAssigned of a Service
// that waits for an address while no configuration was ever accepted.
const ReasonNoConfiguration status.Reason = "NoConfiguration"

// configurationDoubt is how long there must be no configuration before Services report it:
// Services and pools may be created together.
const configurationDoubt = 2 * time.Second

// configure adds to a Plan that Services without an address wait for a configuration, and
// why the configuration was refused, if it was.
func (t *term) configure(plan assign.PlanTables, s cluster.Tables, refused error, class string, now time.Time) assign.PlanTables {
	if s.Config != nil {
		t.unconfigured = time.Time{}
		return plan
	}
	if t.unconfigured.IsZero() {
		t.unconfigured = now
	}
	if due := t.unconfigured.Add(configurationDoubt); now.Before(due) {
		plan.Next = due
		return plan
	}
	why := "there is no configuration"
	if refused != nil {
		why += ": " + refused.Error()
	}
	var updates []assign.Update
	for _, svc := range s.Services.All() {
		if !svc.LoadBalancer || svc.Class != class || len(svc.Ingress) > 0 {
			continue
		}
		want := cluster.Condition{Type: assign.ConditionAddressAssigned, Reason: ReasonNoConfiguration, Message: why}
		if have := svc.Condition(assign.ConditionAddressAssigned); have != nil && *have == want {
			continue
		}
		updates = append(updates, assign.Update{
			Service: svc, Pool: svc.Annotations[assign.AnnotationPool], Condition: &want,
			Events: []cluster.Event{{Warning: true, Reason: assign.EventNoAddress, Message: fmt.Sprintf("Failed to allocate IP for %q: %s: %s", svc.Key, ReasonNoConfiguration, why)}},
		})
	}
	plan.Updates = assign.TableOf(updates)
	return plan
}
