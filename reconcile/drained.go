// SPDX-License-Identifier: Apache-2.0

package reconcile

import "github.com/heraldlb/herald/status"

// A Drainage says how far a node that drains has come.
type Drainage struct {
	Left []status.Decision // what it announces
	Last bool              // of Left all is what no other node announces: it stays
}

// DrainageOf reads it from what the node's agent says. It reports whether the
// drain is over: the agent has read of it, and does nothing more about it.
func DrainageOf(r status.Report, d Drain) (g Drainage, over bool) {
	g.Last = true
	for _, n := range r.Decisions {
		if n.Announce {
			g.Left = append(g.Left, n)
			g.Last = g.Last && n.Last
		}
	}
	return g, r.Ready() && r.Drain != nil && r.Drain.Over && r.Drain.Wish == d.String() && g.Last
}
