// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"cmp"
	"strings"

	"github.com/heraldlb/herald/status"
)

// MergeDecisions returns both lists in order.
func MergeDecisions(a, b []status.Decision) []status.Decision {
	if len(b) == 0 {
		return a
	}
	if len(a) == 0 {
		return b
	}
	out := make([]status.Decision, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if CompareDecisions(b[0], a[0]) < 0 {
			out, b = append(out, b[0]), b[1:]
		} else {
			out, a = append(out, a[0]), a[1:]
		}
	}
	return append(append(out, a...), b...)
}

// CompareDecisions orders decisions by Service, address and protocol.
func CompareDecisions(x, y status.Decision) int {
	if x.Service != y.Service {
		xSpace, xName, _ := strings.Cut(x.Service, "/")
		ySpace, yName, _ := strings.Cut(y.Service, "/")
		return cmp.Or(cmp.Compare(xSpace, ySpace), cmp.Compare(xName, yName))
	}
	return cmp.Or(x.Addr.Compare(y.Addr), cmp.Compare(x.Protocol, y.Protocol))
}
