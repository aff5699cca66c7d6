// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"slices"

	"k8s.io/client-go/util/workqueue"
)

// lanes are a queue in which some objects overtake the others. They are for
// workqueue.TypedQueueConfig, which guards them.
type lanes[K comparable] struct {
	isLater func(K) bool // the object is overtaken

	first, last []K
}

var _ workqueue.Queue[int] = (*lanes[int])(nil)

// Touch is called for an object that waits already.
func (q *lanes[K]) Touch(key K) {
	if len(q.last) == 0 || q.isLater(key) {
		return
	}
	if i := slices.Index(q.last, key); i >= 0 {
		q.last = slices.Delete(q.last, i, i+1)
		q.first = append(q.first, key)
	}
}

// Push has an object wait.
func (q *lanes[K]) Push(key K) {
	if q.isLater(key) {
		q.last = append(q.last, key)
	} else {
		q.first = append(q.first, key)
	}
}

// Len returns how many objects wait.
func (q *lanes[K]) Len() int { return len(q.first) + len(q.last) }

// Pop returns the next object.
func (q *lanes[K]) Pop() K {
	lane := &q.first
	if len(*lane) == 0 {
		lane = &q.last
	}
	key := (*lane)[0]
	*lane = (*lane)[1:]
	return key
}
