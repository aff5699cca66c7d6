// SPDX-License-Identifier: Apache-2.0

package reconcile

// Foresee decides what a node would announce, over BGP and on layer 2, if the
// agents of all Nodes were alive and could answer on the interfaces that
// advertisements name. Its Decisions are those of both protocols.
func Foresee(s Snapshot, node string, opts AnnounceOptions) Desired {
	opts.Layer2 = true
	d := Announce(s, node, opts)
	layer2 := AnnounceLayer2(s, node, Membership{Disabled: true}, opts)
	d.Decisions = mergeDecisions(d.Decisions, layer2.Decisions)
	return d
}
