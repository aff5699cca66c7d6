// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// pollLongest is the longest pause of a Poll that asked for shorter ones.
const pollLongest = 100 * time.Millisecond

// Poll calls check until it returns nil, and returns its last error when the
// context ends first: not that of a call that the context's end cut short,
// which would hide what was wrong. Its pauses get longer with what it has waited
// already, by a twentieth of that: many checks start programs, and share two cores.
func Poll(ctx context.Context, every time.Duration, check func() error) error {
	start := time.Now()
	var last error
	for {
		err := check()
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil && !expired(err) {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), last)
		case <-time.After(max(every, min(time.Since(start)/20, pollLongest))):
		}
	}
}

// expired reports whether a call had no time left. A gRPC server may notice that
// before the context of the call does.
func expired(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded
}

// PollWhile is Poll for what a process is to bring about. It gives up when
// the process has ended.
func PollWhile(ctx context.Context, p *Process, check func() error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	return Poll(ctx, 2*time.Millisecond, func() error {
		select {
		case <-p.Done():
			cancel(errors.Join(errors.New("it has ended"), p.Wait()))
		default:
		}
		return check()
	})
}
