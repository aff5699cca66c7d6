// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/handover"
)

// A vanished remembers the Node that an agent runs on. A deleted Node may be registered
// again in a moment. Its agent uses it for a while, to leave its routes to others. The loop
// that announces owns it.
type vanished struct {
	last  cluster.Node // without labels if the cluster never had it
	since time.Time    // when it was found to be gone; zero: it is there, or never was
	known bool         // the cluster has had it
}

// next looks for the Node.
func (v vanished) next(nodes []*cluster.Node, name string, now time.Time) vanished {
	n, there := cluster.FindNode(nodes, name)
	switch {
	case there:
		return vanished{last: n, known: true}
	case !v.known:
		return vanished{last: n}
	case v.since.IsZero():
		v.since = now
	case !now.Before(v.end()):
		v.last = n
	}
	return v
}

// end is when the Node stops to count.
func (v vanished) end() time.Time { return v.since.Add(handover.DefaultTimes.Leave) }

// gone returns the Node as it was, while it counts; else nil.
func (v vanished) gone(now time.Time) *cluster.Node {
	if v.since.IsZero() || !now.Before(v.end()) {
		return nil
	}
	return &v.last
}

// until is when gone returns something else; zero: never.
func (v vanished) until(now time.Time) time.Time {
	if v.gone(now) == nil {
		return time.Time{}
	}
	return v.end()
}
