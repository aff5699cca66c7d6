// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"time"

	"github.com/heraldlb/herald/status"
)

const (
	// stuckAfter is how long a session and its BFD have to be down before BFD is
	// restarted. A session that can be opened takes a second or two.
	stuckAfter = 5 * time.Second

	// stuckMax is the longest time between two restarts. The time doubles after each.
	stuckMax = 10 * time.Minute
)

// Stuck finds sessions that may wait for a BFD session which never starts: see
// [Applier.Reopen]. The zero value has seen no session. It is not safe for
// concurrent use.
type Stuck struct {
	waits map[status.PeerID]wait
}

// A wait is the time until a session that is down counts as stuck.
type wait struct {
	until time.Time     // when it counts as stuck, or does so again
	next  time.Duration // the wait after that
}

// Next returns the peers that are stuck now, given all sessions as they are now. A
// peer is stuck when neither BGP nor BFD has been up for five seconds. It is returned
// again after five more seconds, then ten, twenty and so on, up to ten minutes.
func (s *Stuck) Next(sessions []Session, now time.Time) []status.PeerID {
	var stuck []status.PeerID
	waits := make(map[status.PeerID]wait)
	for _, f := range sessions {
		if f.Up || f.Shutdown || f.BFD != nil && f.BFD.Up {
			continue
		}
		w, known := s.waits[f.Peer]
		switch {
		case !known:
			w = wait{until: now.Add(stuckAfter), next: stuckAfter}
		case !now.Before(w.until):
			stuck = append(stuck, f.Peer)
			w = wait{until: now.Add(w.next), next: min(2*w.next, stuckMax)}
		}
		waits[f.Peer] = w
	}
	s.waits = waits
	return stuck
}
