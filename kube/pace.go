// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"time"
)

// pause waits, and reports whether there is reason to go on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// statusPause separates two writes at least.
const statusPause = 10 * time.Millisecond

// yield returns how long to pause after a write that began at start, so that the
// API server is left to what matters more: the longer it takes to answer, the more
// it has to do.
func yield(start time.Time) time.Duration {
	const share = 5 // of the time, one part in this many is for writes
	return max(statusPause, (share-1)*time.Since(start))
}
