// SPDX-License-Identifier: Apache-2.0

// Package wake has what a loop waits for: a signal, and the earliest of times.
package wake

import "time"

// A Signal wakes the one goroutine that receives from it. Signals that come
// before it looks are one.
type Signal chan struct{}

// New returns a Signal that is not set.
func New() Signal { return make(Signal, 1) }

// Set wakes the receiver, now or when it looks next. It never blocks, and any
// goroutine may call it.
func (s Signal) Set() {
	select {
	case s <- struct{}{}:
	default: // it is set already
	}
}

// Earlier returns the earlier of two times. The zero time is never: it is not
// earlier than any other.
func Earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
