// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

// A DrainProgress is how far the drain of a node has come.
type DrainProgress struct {
	Left   []status.Decision // what it announces
	Last   bool              // no other node was seen to announce any of Left: it stays
	Handed []status.Decision // what it does not, since another node was seen to announce it
}

// DrainProgressOf reads it from the report of the node's agent. It reports whether the
// drain is over: the agent knows of it, and does nothing more about it.
func DrainProgressOf(r status.Report, d cluster.Drain) (g DrainProgress, over bool) {
	g.Last = true
	unseen := false
	for _, n := range r.Decisions {
		switch {
		case n.Announce:
			g.Left = append(g.Left, n)
			g.Last = g.Last && n.Last
		case n.Reason != status.NodeDraining:
		case n.Protocol == status.BGP && n.Detail != "": // it names the nodes that did not take it
			unseen = true
		default:
			g.Handed = append(g.Handed, n)
		}
	}
	return g, r.Ready() && r.Drain != nil && r.Drain.Over && r.Drain.Wish == d.String() && g.Last && !unseen
}
