// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"time"
)

const (
	// doubtPause is how long a list in doubt must stand until it is believed.
	doubtPause = 3 * time.Second
	// doubtKnown is how many objects must be known for a list that has fewer than
	// half of them to be in doubt. One that has none always is.
	doubtKnown = 10
)

// A Doubt is a list that lacks most of what is known, with no watch having told of
// a deletion: after a restore of etcd, say. It is believed when the API server says
// the same again some seconds later.
type Doubt struct {
	What  string // as in "Services"
	Known int    // how many are known
	Left  int    // how many of these the list has
}

// String says what is in doubt, and what is done about it.
func (d Doubt) String() string {
	return fmt.Sprintf("%s: the API server lists %d of the %d that are known; the others are held to exist until it says the same %s later",
		d.What, d.Left, d.Known, doubtPause)
}

// A doubter decides which lists of one kind are in doubt; nil: none.
type doubter struct {
	what string
	tell func(Doubt) // optional: called at the first list of several

	since time.Time // of the first list in doubt; zero: the last was not
}

// holds reports whether the removals of a list wait: so many objects are known, and
// so many of these are left in the list.
func (d *doubter) holds(known, left int, now time.Time) bool {
	if d == nil {
		return false
	}
	if known == 0 || left > 0 && (known < doubtKnown || 2*left >= known) {
		d.since = time.Time{}
		return false
	}
	switch {
	case d.since.IsZero():
		d.since = now
		if d.tell != nil {
			d.tell(Doubt{d.what, known, left})
		}
	case now.Sub(d.since) >= doubtPause:
		d.since = time.Time{}
		return false
	}
	return true
}
