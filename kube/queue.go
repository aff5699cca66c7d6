// SPDX-License-Identifier: Apache-2.0

package kube

import "sync"

// A lane is where an object waits in a queue.
type lane int

const (
	urgent lane = iota
	later       // overtaken by all that is urgent
)

// A queue holds the objects that wait to be looked at, each once. It gives an object to one
// worker at a time: one that is added meanwhile waits again when the worker is done. Workers
// of the one lane never wait for those of the other. Each method takes the same time
// however many objects wait.
type queue[K comparable] struct {
	isLater func(K) bool

	mu    sync.Mutex // guards the fields below
	ready [2]*sync.Cond
	lanes [2][]turn[K] // an entry that is not in waits is void: the object has been added to the other lane
	waits map[K]place
	busy  map[K]bool // a worker has it
	turns uint64
	ended bool
}

// A turn is an entry of a lane.
type turn[K comparable] struct {
	key    K
	number uint64
}

// A place is where an object waits.
type place struct {
	lane lane
	turn uint64
}

func newQueue[K comparable](isLater func(K) bool) *queue[K] {
	q := &queue[K]{isLater: isLater, waits: map[K]place{}, busy: map[K]bool{}}
	q.ready = [2]*sync.Cond{sync.NewCond(&q.mu), sync.NewCond(&q.mu)}
	return q
}

// Add has an object wait. One that waits already keeps its turn, or gets a better one.
func (q *queue[K]) Add(key K) {
	to := urgent
	if q.isLater(key) {
		to = later
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if at, waits := q.waits[key]; waits && at.lane <= to {
		return
	}
	q.turns++
	q.waits[key] = place{to, q.turns}
	if !q.busy[key] {
		q.push(key)
	}
}

// push puts an object into the lane where it waits. The caller holds mu.
func (q *queue[K]) push(key K) {
	at := q.waits[key]
	q.lanes[at.lane] = append(q.lanes[at.lane], turn[K]{key, at.turn})
	q.ready[at.lane].Signal()
}

// Get waits for the next object of a lane. It returns false when the queue has ended. Done
// must be called for the object.
func (q *queue[K]) Get(from lane) (key K, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.ended {
		if from == urgent || len(q.lanes[urgent]) == 0 {
			if key, ok = q.take(from); ok {
				return key, true
			}
		}
		q.ready[from].Wait()
	}
	return key, false
}

// take takes the next object out of a lane. The caller holds mu.
func (q *queue[K]) take(from lane) (key K, ok bool) {
	for !ok && len(q.lanes[from]) > 0 {
		next := q.lanes[from][0]
		q.lanes[from] = q.lanes[from][1:]
		key, ok = next.key, q.waits[next.key] == place{from, next.number}
	}
	if ok {
		delete(q.waits, key)
		q.busy[key] = true
	}
	if from == urgent && len(q.lanes[urgent]) == 0 {
		q.ready[later].Broadcast()
	}
	return key, ok
}

// Done takes note that a worker is done with an object.
func (q *queue[K]) Done(key K) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.busy, key)
	if _, waits := q.waits[key]; waits {
		q.push(key)
	}
}

// End has all workers end.
func (q *queue[K]) End() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	for _, c := range q.ready {
		c.Broadcast()
	}
}
