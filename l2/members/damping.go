// SPDX-License-Identifier: Apache-2.0

package members

import (
	"maps"
	"slices"
	"time"
)

// A node that came back this often within the window after it was declared dead is
// damped, until it has been stable for the penalty.
const (
	dampingRevivals = 3
	dampingWindow   = time.Minute
	dampingPenalty  = time.Minute
)

// oneEvent is the time within which several revivals count as one: a node that was cut off
// from all others meets them again one by one.
const oneEvent = time.Second

// minExtension is how much longer a penalty must be to count as news. The time of a
// message on its way extends a penalty: without a minimum, two agents could extend it for
// each other without end.
const minExtension = time.Second

// damping decides which nodes flap too often to own addresses. An agent that damps a node
// informs all others, and the longest penalty counts, so that all soon agree. A planned
// stop is no flap.
type damping struct {
	self     string
	dead     map[string]absence // declared dead and not back yet
	revivals map[string][]time.Time
	until    map[string]time.Time
}

// An absence is the time during which a node counted as dead.
type absence struct {
	since  time.Time
	epoch  uint64 // of its process
	lowest int    // the lowest number of members left during it
	total  int    // the highest possible number of members
}

func newDamping(self string) damping {
	return damping{self, map[string]absence{}, map[string][]time.Time{}, map[string]time.Time{}}
}

// died records that a process of a node was declared dead, and how many members are left,
// including this node.
func (d damping) died(node string, epoch uint64, left int, now time.Time) {
	d.dead[node] = absence{since: now, epoch: epoch}
	for name, a := range d.dead {
		if name == node || left < a.lowest {
			a.lowest = left
		}
		a.total = max(a.total, left+len(d.dead))
		d.dead[name] = a
	}
}

// joined records that a process of a node is alive. It returns the node that is damped by
// that, or whose penalty is extended, if any.
func (d damping) joined(node string, epoch uint64, now time.Time) (string, bool) {
	a, ok := d.dead[node]
	delete(d.dead, node)
	switch {
	case !ok:
		return "", false
	case a.epoch != epoch: // it crashed
	case 2*a.lowest < a.total: // this node lost most others: it was itself cut off
		node = d.self
	case 2*a.lowest == a.total: // either may have been cut off
		return "", false
	}
	return node, d.revived(node, now)
}

// revived records that a node was not reliable for a while, and reports whether it is
// damped by that, or its penalty extended.
func (d damping) revived(node string, now time.Time) bool {
	recent := slices.DeleteFunc(d.revivals[node], func(t time.Time) bool { return now.Sub(t) >= dampingWindow })
	if len(recent) > 0 && now.Sub(recent[len(recent)-1]) < oneEvent {
		return false
	}
	recent = append(recent, now)
	d.revivals[node] = recent
	return len(recent) >= dampingRevivals && d.learn(node, dampingPenalty, now)
}

// learn records that a node is damped for that long, and reports whether that is news.
func (d damping) learn(node string, penalty time.Duration, now time.Time) bool {
	until := now.Add(min(penalty, dampingPenalty))
	if penalty < minExtension || until.Sub(d.until[node]) < minExtension {
		return false
	}
	d.until[node] = until
	return true
}

// expire removes penalties that are over, and reports whether there were any.
func (d damping) expire(now time.Time) bool {
	n := len(d.until)
	maps.DeleteFunc(d.until, func(_ string, t time.Time) bool { return !now.Before(t) })
	maps.DeleteFunc(d.dead, func(_ string, a absence) bool { return now.Sub(a.since) >= dampingWindow })
	maps.DeleteFunc(d.revivals, func(_ string, times []time.Time) bool {
		return now.Sub(times[len(times)-1]) >= dampingWindow
	})
	return len(d.until) < n
}
