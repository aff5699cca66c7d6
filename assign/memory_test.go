// SPDX-License-Identifier: Apache-2.0

package assign_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// A Memory decides as Assign does, whatever happened before: world.assign compares them.
// This adds to the changes of TestAssignRandomly what is of no interest there.
func TestMemory(t *testing.T) {
	updates, clashes, waiting := 0, 0, 0
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 0))
		w := newWorld(t)
		w.command("pools p0=10.0.0.0/29,fd00::/126")
		if seed%2 == 0 {
			w.command("grace 10s")
		}
		for range 300 {
			w.command(fmt.Sprintf("wait %ds", r.IntN(4)))
			for range r.IntN(4) {
				w.command(randomChange(r))
			}
			w.stale = r.IntN(3) == 0
			w.pass()
			plan := w.assign()
			updates += len(plan.Updates)
			clashes += len(plan.Clashes)
			for _, svc := range w.services {
				if len(svc.Conditions) > 0 && !svc.Conditions[0].True {
					waiting++
				}
			}
		}
	}
	if updates < 300 || clashes < 50 || waiting < 1000 {
		t.Errorf("%d updates, %d clashes, %d times a Service waited: the histories are too simple", updates, clashes, waiting)
	}
}

// randomChange returns a command for any part of the world.
func randomChange(r *rand.Rand) string {
	one := func(of ...string) string { return of[r.IntN(len(of))] }
	switch r.IntN(24) {
	case 0, 10, 11:
		return "namespace " + one("shop", "lab") + " " + one("team:a", "team:b")
	case 1:
		return "config none"
	case 2:
		return "class " + one("none", "none", "red")
	case 3, 9:
		return "pools p0=10.0.0.0/29,fd00::/126" + one("", ";namespaces-labelled=team:a", ";namespaces-labelled=team:a", ";services-labelled=tier:x", ";sharing=named") + " p1=10.0.1.0/30"
	case 4:
		return fmt.Sprintf("service shop/s%d labels=%s", r.IntN(10), one("tier:x", "tier:y"))
	case 5, 6, 7:
		return randomOutsider(r, one)
	case 8:
		return "pools p0=10.0.0.0/29,fd00::/126 p1=10.0.1.0/30"
	}
	return randomCommand(r)
}
