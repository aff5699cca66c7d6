// SPDX-License-Identifier: Apache-2.0

package announce

import "github.com/heraldlb/herald/cluster"

// Foresee decides what a node would announce, over BGP and on layer 2, if the
// agents of all Nodes were alive and could answer on the interfaces that
// advertisements name. Its Decisions are those of both protocols.
func Foresee(s cluster.Snapshot, node string, opts Options) Desired {
	opts.Layer2 = true
	if s.Config != nil {
		opts.Index = opts.Index.Of(s.Config)
	}
	d := BGP(s, node, opts)
	layer2 := Layer2(s, node, Membership{Disabled: true}, opts)
	d.Decisions = MergeDecisions(d.Decisions, layer2.Decisions)
	return d
}
