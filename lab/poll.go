// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// poll calls check until it returns nil, and returns its last error when the
// context ends first.
func poll(ctx context.Context, every time.Duration, check func() error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

// pollProcess is poll for what a process is to bring about. It gives up when
// the process has ended.
func pollProcess(ctx context.Context, p *Process, check func() error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	return poll(ctx, 2*time.Millisecond, func() error {
		select {
		case <-p.Done():
			cancel(errors.Join(errors.New("it has ended"), p.Wait()))
		default:
		}
		return check()
	})
}
