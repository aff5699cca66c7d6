// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"time"
)

const (
	// doubtPause is how long a list stays in doubt before Herald believes it.
	doubtPause = 3 * time.Second
	// doubtKnown is from how many known objects on a list with fewer than half of
	// them is in doubt. A list with none of them always is.
	doubtKnown = 10
)

// A Doubt is a list that lacks most of the known objects, though no watch reported
// their deletion: after a restore of etcd, say. Herald believes it when the API server
// lists the same some seconds later.
type Doubt struct {
	What  string // as in "Services"
	Known int    // how many are known
	Left  int    // how many of these the list has
}

// String describes the doubt and what Herald does about it.
func (d Doubt) String() string {
	return fmt.Sprintf("%s: the API server lists %d of the %d known; Herald keeps the others unless it lists the same %s later",
		d.What, d.Left, d.Known, doubtPause)
}

// A doubter decides which lists of one kind are in doubt; nil: none.
type doubter struct {
	what string
	tell func(Doubt) // optional: called at the first list of several

	since time.Time // of the first list in doubt; zero: the last was not
}

// holds reports whether the removals of a list wait. Of the known objects, left are
// in the list.
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

// pending reports whether the last list is in doubt.
func (d *doubter) pending() bool { return d != nil && !d.since.IsZero() }
