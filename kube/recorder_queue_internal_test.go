// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"math/rand/v2"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Whatever comes, and though nothing is taken, no more waits than may.
func TestEventQueueBound(t *testing.T) {
	t.Parallel()
	q := newEventQueue()
	lossy := 0
	for i := range 3 * recorderQueue {
		about := corev1.ObjectReference{Kind: "Service", Name: fmt.Sprint(i / 2)}
		if q.add(eventID{about: about, message: fmt.Sprint(i % 2)}, about, metav1.Now()) {
			lossy++
		}
	}
	if len(q.waiting) != recorderQueue || q.all.Len() != recorderQueue || len(q.lanes) != recorderQueue/2 || q.ready.Len() != recorderQueue/2 {
		t.Errorf("%d events wait, %d in order, about %d objects, of which %d are ready", len(q.waiting), q.all.Len(), len(q.lanes), q.ready.Len())
	}
	if lossy != 1 {
		t.Errorf("the loss was reported %d times", lossy)
	}
	for {
		o, _ := q.take()
		if o == nil {
			break
		}
		q.done(o)
	}
	if n := len(q.waiting) + q.all.Len() + len(q.lanes) + q.ready.Len() + q.lost; n != 0 {
		t.Errorf("the empty queue has %+v", q)
	}
}

// Along random histories each event is taken once, those about an object in the order in which
// they last occurred, and no two about one object at a time.
func TestEventQueueOrder(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	q := newEventQueue()
	at := map[eventID]int{} // of events that wait: when they last occurred
	var writing []*occurrence
	busy := map[string]bool{}
	for step := range 50_000 {
		switch n := random.IntN(10); {
		case n < 4:
			about := corev1.ObjectReference{Name: fmt.Sprint(random.IntN(5))}
			id := eventID{about: about, message: fmt.Sprint(random.IntN(6))}
			q.add(id, about, metav1.Now())
			at[id] = step
		case n < 8:
			o, _ := q.take()
			if o == nil {
				for id := range at {
					if !busy[id.about.Name] {
						t.Fatalf("step %d: nothing is taken, and %v waits", step, id)
					}
				}
				continue
			}
			when, waits := at[o.id]
			if !waits || busy[o.id.about.Name] {
				t.Fatalf("step %d: %v was taken; it waits: %v, another one is written: %v", step, o.id, waits, busy[o.id.about.Name])
			}
			delete(at, o.id)
			for id, other := range at {
				if id.about == o.id.about && other < when {
					t.Fatalf("step %d: %v was taken before %v", step, o.id, id)
				}
			}
			busy[o.id.about.Name] = true
			writing = append(writing, o)
		case len(writing) > 0:
			i := random.IntN(len(writing))
			busy[writing[i].id.about.Name] = false
			q.done(writing[i])
			writing = append(writing[:i], writing[i+1:]...)
		}
	}
}
