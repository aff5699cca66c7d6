// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

// What differs between two lists of faults makes the second of the first, also while a probe
// is both failing and unknown: news of the two come one after the other.
func TestDifferingFaults(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	lists := [][]Fault{
		nil, {{Addr: a, Digest: 1}}, {{Addr: a, Digest: 1, Unknown: true}}, {{Addr: a, Digest: 1}, {Addr: a, Digest: 1, Unknown: true}},
		{{Addr: a, Digest: 1}, {Addr: b, Digest: 1}}, {{Addr: a, Digest: 2}, {Addr: b, Digest: 1, Unknown: true}},
	}
	for i, before := range lists {
		for j, now := range lists {
			has := map[Fault]bool{}
			for _, f := range before {
				has[f] = true
			}
			differingFaults(before, now, func(f Fault, is bool) {
				if has[f] == is {
					panic(fmt.Sprint("said twice: ", f))
				}
				has[f] = is
			})
			for f, is := range has {
				if is != slices.Contains(now, f) {
					t.Errorf("from list %d to %d: %+v is there: %t", i, j, f, is)
				}
			}
			for _, f := range now {
				if !has[f] {
					t.Errorf("from list %d to %d: %+v is missing", i, j, f)
				}
			}
		}
	}
}
