// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"container/heap"
	"time"
)

const (
	// packetRate and packetBurst bound the unsolicited packets, first
	// announcements aside: a thousand addresses are not to come in one burst,
	// which switches and hosts would drop.
	packetRate  = 500 // a second
	packetBurst = 50
)

// A timetable says which presence is to do something next. What is urgent is
// not held up by what is not.
type timetable struct {
	urgent, routine queue
	pace            pace
}

// A slot is the place of a presence in a timetable.
type slot struct {
	at    time.Time
	queue *queue // nil if nothing is due ever
	index int    // in queue
}

// put sets the time at which a presence is to act next.
func (t *timetable) put(p *presence, at time.Time, urgent bool) {
	t.remove(p)
	p.at, p.queue = at, &t.routine
	if urgent {
		p.queue = &t.urgent
	}
	heap.Push(p.queue, p)
}

// remove makes a presence do nothing any more.
func (t *timetable) remove(p *presence) {
	if p.queue != nil {
		heap.Remove(p.queue, p.index)
		p.queue = nil
	}
}

// send does what is due, as far as the pace allows. It returns when to do more,
// or zero if nothing is in the timetable.
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
		next = earlier(next, p.at)
	}
	if p := e.routine.first(); p != nil && next.IsZero() {
		next = p.at
	} else if p != nil && p.at.After(now) {
		next = earlier(next, p.at)
	}
	return next
}

// A pace is a bucket of leave to send.
type pace struct {
	left float64 // packets
	at   time.Time
}

// take takes the leave for the packets of one round, or returns how long to
// wait for it. The wait fills half of the bucket, so that few wake-ups send much.
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

// first returns the presence that is to act next, or nil.
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
