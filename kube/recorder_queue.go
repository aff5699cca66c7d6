// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"container/list"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// recorderQueue is how many events may wait. A change of ten thousand Services
// makes ten thousand.
const recorderQueue = 16384

// An eventID tells events apart: those of one ID are one event that is counted.
type eventID struct {
	about           corev1.ObjectReference // without a version
	warning         bool
	reason, message string
}

// An occurrence is an event that waits.
type occurrence struct {
	about corev1.ObjectReference // with the newest version
	at    metav1.Time            // the last time
	count int32

	id   eventID
	lane *eventLane
	all  *list.Element // in eventQueue.all
	own  *list.Element // in lane.events
}

// An eventLane has the events about one object.
type eventLane struct {
	about  corev1.ObjectReference
	events *list.List    // of *occurrence; the newest is last
	ready  *list.Element // in eventQueue.ready; nil: an event is being written, or none waits
	busy   bool          // an event is being written
}

// An eventQueue has the events that wait, at most recorderQueue. Objects take turns, and
// an object whose event is being written waits for that one alone: a slow write holds up no
// event about another object. A workqueue of client-go would keep the keys of events that
// are dropped.
type eventQueue struct {
	mu      sync.Mutex // guards the fields below
	waiting map[eventID]*occurrence
	all     *list.List // of waiting; the one that has last occurred longest ago is first
	lanes   map[corev1.ObjectReference]*eventLane
	ready   *list.List // lanes from which an event can be taken
	lost    int        // since nothing waited
}

func newEventQueue() *eventQueue {
	return &eventQueue{
		waiting: map[eventID]*occurrence{}, all: list.New(),
		lanes: map[corev1.ObjectReference]*eventLane{}, ready: list.New(),
	}
}

// add has an event wait. If too many do, the one that has last occurred longest ago is
// dropped. It reports whether that is the first one.
func (q *eventQueue) add(id eventID, about corev1.ObjectReference, at metav1.Time) (lossy bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	o := q.waiting[id]
	if o == nil {
		lane := q.lanes[id.about]
		if lane == nil {
			lane = &eventLane{about: id.about, events: list.New()}
			q.lanes[id.about] = lane
		}
		o = &occurrence{id: id, lane: lane}
		o.all, o.own = q.all.PushBack(o), lane.events.PushBack(o)
		q.waiting[id] = o
		q.offer(lane)
	}
	o.about, o.at, o.count = about, at, o.count+1
	// The newest event about an object is written last.
	q.all.MoveToBack(o.all)
	o.lane.events.MoveToBack(o.own)
	if q.all.Len() <= recorderQueue {
		return false
	}
	q.remove(q.all.Front().Value.(*occurrence))
	q.lost++
	return q.lost == 1
}

// take returns an event whose object has waited longest, and whether there is another one to
// be taken. No other event about the object is taken until done is called.
func (q *eventQueue) take() (o *occurrence, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	front := q.ready.Front()
	if front == nil {
		return nil, false
	}
	lane := front.Value.(*eventLane)
	lane.busy = true
	q.withdraw(lane)
	o = lane.events.Front().Value.(*occurrence)
	q.remove(o)
	if q.all.Len() == 0 {
		q.lost = 0
	}
	return o, q.ready.Len() > 0
}

// done lets the next event about an object be taken. It reports whether there is any event to
// be taken.
func (q *eventQueue) done(o *occurrence) (more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	o.lane.busy = false
	q.offer(o.lane)
	q.forget(o.lane)
	return q.ready.Len() > 0
}

// offer has the events of a lane be taken, after those of others. The caller holds mu, as
// that of the methods below.
func (q *eventQueue) offer(lane *eventLane) {
	if !lane.busy && lane.ready == nil && lane.events.Len() > 0 {
		lane.ready = q.ready.PushBack(lane)
	}
}

func (q *eventQueue) withdraw(lane *eventLane) {
	if lane.ready != nil {
		q.ready.Remove(lane.ready)
		lane.ready = nil
	}
}

// remove has an event wait no more.
func (q *eventQueue) remove(o *occurrence) {
	q.all.Remove(o.all)
	o.lane.events.Remove(o.own)
	delete(q.waiting, o.id)
	if o.lane.events.Len() == 0 {
		q.withdraw(o.lane)
	}
	q.forget(o.lane)
}

// forget drops a lane that is of no use.
func (q *eventQueue) forget(lane *eventLane) {
	if !lane.busy && lane.events.Len() == 0 {
		delete(q.lanes, lane.about)
	}
}
