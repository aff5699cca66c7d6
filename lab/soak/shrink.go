// SPDX-License-Identifier: Apache-2.0

package soak

import "slices"

// Shrink returns the shortest list of steps that it finds which still fails, by delta
// debugging: it leaves out ever smaller parts. It asks fails until that has no more
// time, which more says, and then returns the shortest list so far. The list that it is
// given counts as failing.
func Shrink(steps []Step, more func() bool, fails func([]Step) bool) []Step {
	parts := 2
	for len(steps) > 1 && parts <= len(steps) {
		smaller := false
		for i := range parts {
			if !more() {
				return steps
			}
			from, to := i*len(steps)/parts, (i+1)*len(steps)/parts
			rest := slices.Concat(steps[:from], steps[to:])
			if fails(rest) {
				steps, smaller = rest, true
				break
			}
		}
		switch {
		case smaller:
			parts = max(parts-1, 2)
		case parts == len(steps):
			return steps
		default:
			parts = min(2*parts, len(steps))
		}
	}
	return steps
}
