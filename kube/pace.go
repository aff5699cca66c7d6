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

const (
	// statusPause separates two writes of one writer at least.
	statusPause = 10 * time.Millisecond
	// promptly is how long an API server that has time takes to answer, and longestEase how
	// long a writer leaves one alone that has none.
	promptly    = 10 * time.Millisecond
	longestEase = time.Second
	// writeShare bounds the time that the writes of one writer take: one part in this many.
	writeShare = 5
	// easyWriters is how many writes that nothing waits for run at a time.
	easyWriters = 4
)

// yield returns how long to pause after a write that began at start, so that the
// API server is left to what matters more: the longer it takes to answer, the more
// it has to do.
func yield(start time.Time) time.Duration {
	return max(statusPause, (writeShare-1)*time.Since(start))
}

// ease is yield for one of several writers that have much to write. There is no pause while
// the API server answers promptly, and none above longestEase: a writer whose writes take
// longer does little harm.
func ease(start time.Time) time.Duration {
	return min(longestEase, max(0, (writeShare-1)*(time.Since(start)-promptly)))
}
