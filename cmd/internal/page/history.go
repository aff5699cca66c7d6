// SPDX-License-Identifier: Apache-2.0

package page

import (
	"crypto/rand"
	"strconv"
	"strings"
	"time"
)

// maxChanges is how many changes are remembered.
const maxChanges = 256

// A Change is a difference between two Topologies.
type Change struct {
	Seq     int64     `json:"seq"` // one more than that of the change before
	At      time.Time `json:"at"`  // when it was seen, or when it happened where that is known
	Kind    string    `json:"kind"`
	Subject string    `json:"subject"` // a name; empty: of what there is one of
	Count   int       `json:"count,omitempty"`
	What    string    `json:"what"` // that has changed
	Before  string    `json:"before,omitempty"`
	After   string    `json:"after,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Bad     bool      `json:"bad,omitempty"`         // something does not work any more
	Good    bool      `json:"good,omitempty"`        // something works again
	Took    float64   `json:"tookSeconds,omitempty"` // how long it did not work
}

// A history has the last changes.
type history struct {
	last    int64 // Seq of the newest
	changes []Change
}

// add adds changes, and forgets the oldest.
func (h *history) add(changes []Change) {
	for _, c := range changes {
		h.last++
		c.Seq = h.last
		h.changes = append(h.changes, c)
	}
	if surplus := len(h.changes) - maxChanges; surplus > 0 {
		h.changes = append([]Change(nil), h.changes[surplus:]...)
	}
}

// after returns the changes after one, and whether none between was forgotten.
func (h *history) after(seq int64) (changes []Change, all bool) {
	forgotten := h.last - int64(len(h.changes))
	if seq < forgotten || seq > h.last {
		return h.changes, false
	}
	return h.changes[seq-forgotten:], true
}

func newEpoch() string { return rand.Text()[:8] }

// id returns the ID of a change in this process.
func (p *Page) id(seq int64) string { return p.epoch + "-" + strconv.FormatInt(seq, 10) }

// seq returns the Seq in an ID of this process, and whether it is one.
func (p *Page) seq(id string) (int64, bool) {
	epoch, text, _ := strings.Cut(id, "-")
	seq, err := strconv.ParseInt(text, 10, 64)
	if err != nil || epoch != p.epoch {
		return 0, false
	}
	return seq, true
}
