// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

const (
	// unknownHolder is who holds a Lease that was restored.
	unknownHolder = "unknown, as etcd was restored"
	// restoredAge is by how much a Lease is older at least that was restored. The API
	// server cuts times to microseconds.
	restoredAge = time.Second
)

// A history remembers the Lease, to recognize one that is older. Times of a Lease are by
// the clock of its holder, so that a new holder's may look older too: that costs a longer
// wait, once.
type history struct {
	last     resourcelock.LeaderElectionRecord
	restored string        // the text of a Lease that was older than the one before; empty: none was
	wait     time.Duration // how long others wait then
}

// read takes in a Lease that was read, and reports whether it was restored.
func (h *history) read(r resourcelock.LeaderElectionRecord, raw []byte) bool {
	if string(raw) == h.restored {
		return true
	}
	h.restored = ""
	if r.LeaderTransitions < h.last.LeaderTransitions || h.last.RenewTime.Sub(r.RenewTime.Time) >= restoredAge {
		h.restored = string(raw)
		// The last write before may have made the Lease longer, and not been seen.
		h.wait = min(2*time.Duration(h.last.LeaseDurationSeconds)*time.Second, slowest.lease())
	}
	h.last = r
	return h.restored != ""
}

// wrote takes in a Lease that this process wrote.
func (h *history) wrote(r resourcelock.LeaderElectionRecord) {
	h.last, h.restored = r, ""
}
