// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"slices"
	"strings"

	"github.com/heraldlb/herald/status"
)

// maxChanges is how many Changes a Topology has.
const maxChanges = 256

// A Change is what an agent saw change.
type Change struct {
	Node string `json:"node"`
	status.Change
}

// history adds the last changes of all agents that were asked, the newest first by the
// clocks of their nodes.
func (b *builder) history() {
	for _, n := range b.t.Nodes {
		if r := b.agents[n.Name].Report; r != nil {
			for _, c := range r.Changes {
				b.t.Changes = append(b.t.Changes, Change{Node: n.Name, Change: c})
			}
		}
	}
	slices.SortStableFunc(b.t.Changes, func(x, y Change) int { return cmp.Or(y.At.Compare(x.At), strings.Compare(x.Node, y.Node)) })
	if len(b.t.Changes) > maxChanges {
		b.t.Changes = slices.Clone(b.t.Changes[:maxChanges])
	}
}
