// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"fmt"
	"time"

	"github.com/heraldlb/herald/status"
)

// ReasonNoConfiguration is the reason of a ConditionAddressAssigned of a Service
// that waits for an address while no configuration was ever accepted.
const ReasonNoConfiguration status.Reason = "NoConfiguration"

// configurationDoubt is how long there must be no configuration before Services
// say so: Services and pools may be created together.
const configurationDoubt = 2 * time.Second

// configure adds to a Plan that Services without an address wait for a
// configuration, and why one is refused if one is.
func (t *term) configure(plan Plan, s Snapshot, refused error, class string, now time.Time) Plan {
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
	for _, svc := range s.Services {
		if !svc.LoadBalancer || svc.Class != class || len(svc.Ingress) > 0 {
			continue
		}
		want := Condition{Type: ConditionAddressAssigned, Reason: ReasonNoConfiguration, Message: why}
		if have := svc.condition(ConditionAddressAssigned); have != nil && *have == want {
			continue
		}
		plan.Updates = append(plan.Updates, Update{
			Service: svc, Pool: svc.Annotations[AnnotationPool], Condition: &want,
			Events: []Event{{true, EventNoAddress, fmt.Sprintf("Failed to allocate IP for %q: %s: %s", svc.Key, ReasonNoConfiguration, why)}},
		})
	}
	return plan
}
