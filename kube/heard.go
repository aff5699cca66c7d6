// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heraldlb/herald/status"
)

// A hearing is when the API server said something of the objects that a mirror holds. Any
// goroutine may read it.
type hearing struct {
	kind    string
	reading atomic.Int64
	heard   atomic.Int64 // in nanoseconds since 1970; 0: never
	listed  atomic.Int64 // likewise
}

// note takes note of an answer, or of an event of a watch.
func (h *hearing) note() { h.heard.Store(time.Now().UnixNano()) }

// list takes note of a list.
func (h *hearing) list() {
	now := time.Now().UnixNano()
	h.heard.Store(now)
	h.listed.Store(now)
	h.reading.Store(int64(listed)) // last: who reads it finds the times
}

// missing takes note that there is no such kind, or no right to read it.
func (h *hearing) missing() {
	h.reading.Store(int64(absent))
	h.note()
}

// watch returns the same as the report shows it.
func (h *hearing) watch() status.Watch {
	at := func(n int64) (t time.Time) {
		if n != 0 {
			t = time.Unix(0, n).UTC()
		}
		return t
	}
	state := map[reading]string{unread: "Unread", absent: "Absent", listed: "Listed"}
	reading := reading(h.reading.Load())
	return status.Watch{Kind: h.kind, State: state[reading], Heard: at(h.heard.Load()), Listed: at(h.listed.Load())}
}

// hearings are those of the mirrors that read with one Client.
type hearings struct {
	mu  sync.Mutex // guards the field below
	all map[*hearing]bool
}

func (s *hearings) begin(h *hearing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[*hearing]bool{}
	}
	s.all[h] = true
}

func (s *hearings) end(h *hearing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, h)
}

// Watches returns what is read from the API server at the moment, sorted by kind. Of several
// mirrors of one kind the one counts that was heard of least lately.
func (c *Client) Watches() []status.Watch {
	c.hearings.mu.Lock()
	defer c.hearings.mu.Unlock()
	var out []status.Watch
	for h := range c.hearings.all {
		out = append(out, h.watch())
	}
	slices.SortFunc(out, func(a, b status.Watch) int { return cmp.Or(strings.Compare(a.Kind, b.Kind), a.Heard.Compare(b.Heard)) })
	return slices.CompactFunc(out, func(a, b status.Watch) bool { return a.Kind == b.Kind })
}
