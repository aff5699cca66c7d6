// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/heraldlb/herald/lab/process"
)

// What a wait in vain reports is what was wrong, not that a call had no time left.
func TestPoll(t *testing.T) {
	wrong := errors.New("two of three paths")
	for _, cut := range []error{
		fmt.Errorf("list: %w", context.DeadlineExceeded),
		fmt.Errorf("list: %w", status.Error(codes.DeadlineExceeded, "context deadline exceeded")),
	} {
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		err := process.Poll(ctx, time.Millisecond, func() error {
			switch calls++; calls {
			case 1:
				return cut
			case 2:
				return wrong
			}
			cancel()
			return cut
		})
		if !errors.Is(err, wrong) || !errors.Is(err, context.Canceled) || errors.Is(err, cut) {
			t.Errorf("after %v: %v", cut, err)
		}
		cancel()
	}
}
