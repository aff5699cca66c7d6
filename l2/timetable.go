// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"container/heap"
	"time"

	"github.com/heraldlb/herald/wake"
)

const (
	// packetRate and packetBurst bound the unsolicited packets, apart from first
	// announcements. Switches and hosts would drop a burst for a thousand addresses.
	packetRate  = 500 // a second
	packetBurst = 50
)

// A timetable says which presence acts next. Urgent actions do not wait for routine ones.
type timetable struct {
	urgent, routine queue
	pace            pace
}

// A slot is the place of a presence in a timetable.
type slot struct {
	at    time.Time
	queue *queue // nil: it never acts
	index int    // in queue
}

// put sets the time at which a presence acts next.
func (t *timetable) put(p *presence, at time.Time, urgent bool) {
	t.remove(p)
	p.at, p.queue = at, &t.routine
	if urgent {
		p.queue = &t.urgent
	}
	heap.Push(p.queue, p)
}

// remove removes a presence from the timetable.
func (t *timetable) remove(p *presence) {
	if p.queue != nil {
		heap.Remove(p.queue, p.index)
		p.queue = nil
	}
}

// send lets the presences act that are due, as far as the pace allows. It returns the time
// of the next action, or zero if the timetable is empty.
func (e *engine) send(now time.Time) (next time.Time) {
	for p := e.urgent.first(); p != nil && due(p.at, now); p = e.urgent.first() {
		e.act(p, now)
	}
	for p := e.routine.first(); p != nil && due(p.at, now); p = e.routine.first() {
		if wait := e.pace.take(now); wait > 0 {
			next = now.Add(wait)
			break
		}
		e.act(p, now)
	}
	if p := e.urgent.first(); p != nil {
		next = wake.Earlier(next, p.at)
	}
	if p := e.routine.first(); p != nil && next.IsZero() {
		next = p.at
	} else if p != nil && p.at.After(now) {
		next = wake.Earlier(next, p.at)
	}
	return next
}

// A pace is a token bucket for packets.
type pace struct {
	left float64 // tokens, one a packet
	at   time.Time
}

// take takes the tokens for the packets of one round, or returns how long to wait for
// them. The wait fills half of the bucket, so that few wake-ups send many packets.
func (b *pace) take(now time.Time) time.Duration {
	const cost = 2 // a request and a reply
	b.left = min(b.left+packetRate*now.Sub(b.at).Seconds(), packetBurst)
	b.at = now
	if b.left < cost {
		return time.Duration((packetBurst/2 - b.left) / packetRate * float64(time.Second))
	}
	b.left -= cost
	return 0
}

// A queue is a heap of presences, the next to act first.
type queue []*presence

// first returns the presence that acts next, or nil.
func (q queue) first() *presence {
	if len(q) == 0 {
		return nil
	}
	return q[0]
}

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue) Push(x any) {
	p := x.(*presence)
	p.index = len(*q)
	*q = append(*q, p)
}

func (q *queue) Pop() any {
	last := len(*q) - 1
	p := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return p
}
