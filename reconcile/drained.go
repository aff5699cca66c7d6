// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"time"

	"github.com/heraldlb/herald/status"
)

// A Drainage says how far a node that drains has come.
type Drainage struct {
	Left []status.Decision // what it announces
	Last bool              // of Left all is what no other node announces: it stays
}

// DrainageOf reads it from what the node's agent says. It reports whether the
// drain is over: the agent does nothing more about it.
func DrainageOf(r status.Report, d Drain, now time.Time) (g Drainage, over bool) {
	g.Last = true
	for _, n := range r.Decisions {
		if n.Announce {
			g.Left = append(g.Left, n)
			g.Last = g.Last && (n.Detail == lastAnnouncer || n.Detail == aliveUnknown)
		}
	}
	return g, r.Ready() && !d.IsZero() && !now.Before(d.over(0)) && g.Last
}
