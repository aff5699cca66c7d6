// SPDX-License-Identifier: Apache-2.0

package members

import (
	"maps"
	"slices"
	"time"
)

// A node that came back from the dead this often within the window is damped
// until it has been quiet for the penalty.
const (
	dampingRevivals = 3
	dampingWindow   = time.Minute
	dampingPenalty  = time.Minute
)

// oneEvent is within which time revivals are one: who was cut off from all
// others meets them again one by one.
const oneEvent = time.Second

// minExtension is how much longer a penalty must be for it to be news. The time
// that a message is under way counts as penalty; without this two agents could
// prolong it for each other without end.
const minExtension = time.Second

// damping decides which nodes come and go too often to own addresses. An agent
// that damps a node tells all, and the longest penalty counts, so that all soon
// agree. A planned stop is no flap.
type damping struct {
	self     string
	dead     map[string]absence // declared dead, not back yet
	revivals map[string][]time.Time
	until    map[string]time.Time
}

// An absence is the time that a node was held to be dead.
type absence struct {
	since  time.Time
	epoch  uint64 // of its process
	lowest int    // members that were left meanwhile, at the worst
	total  int    // members there could have been
}

func newDamping(self string) damping {
	return damping{self, map[string]absence{}, map[string][]time.Time{}, map[string]time.Time{}}
}

// died notes that a process of a node was declared dead, and how many members
// are left, this node included.
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

// joined notes that a process of a node is alive. It returns the node that this
// damps, or whose penalty it prolongs, if any.
func (d damping) joined(node string, epoch uint64, now time.Time) (string, bool) {
	a, ok := d.dead[node]
	delete(d.dead, node)
	switch {
	case !ok:
		return "", false
	case a.epoch != epoch: // it crashed
	case 2*a.lowest < a.total: // this node lost most others: it was cut off itself
		node = d.self
	case 2*a.lowest == a.total: // either may have been
		return "", false
	}
	return node, d.revived(node, now)
}

// revived notes that a node could not be relied on for a while, and reports
// whether that damps it, or prolongs its penalty.
func (d damping) revived(node string, now time.Time) bool {
	recent := slices.DeleteFunc(d.revivals[node], func(t time.Time) bool { return now.Sub(t) >= dampingWindow })
	if len(recent) > 0 && now.Sub(recent[len(recent)-1]) < oneEvent {
		return false
	}
	recent = append(recent, now)
	d.revivals[node] = recent
	return len(recent) >= dampingRevivals && d.learn(node, dampingPenalty, now)
}

// learn notes that a node is damped for that long, and reports whether that is
// news.
func (d damping) learn(node string, penalty time.Duration, now time.Time) bool {
	until := now.Add(min(penalty, dampingPenalty))
	if penalty < minExtension || until.Sub(d.until[node]) < minExtension {
		return false
	}
	d.until[node] = until
	return true
}

// expire forgets penalties that are over, and reports whether there were any.
func (d damping) expire(now time.Time) bool {
	n := len(d.until)
	maps.DeleteFunc(d.until, func(_ string, t time.Time) bool { return !now.Before(t) })
	maps.DeleteFunc(d.dead, func(_ string, a absence) bool { return now.Sub(a.since) >= dampingWindow })
	maps.DeleteFunc(d.revivals, func(_ string, times []time.Time) bool {
		return now.Sub(times[len(times)-1]) >= dampingWindow
	})
	return len(d.until) < n
}
