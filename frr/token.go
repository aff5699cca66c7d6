// SPDX-License-Identifier: Apache-2.0

package frr

import "context"

// A token is a lock for which a caller waits no longer than its context.
type token chan struct{}

func newToken() token { return make(token, 1) }

// acquire takes the token, or returns why ctx ended first.
func (t token) acquire(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t token) release() { <-t }
