// SPDX-License-Identifier: Apache-2.0

package reconcile_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/reconcile"
)

func TestWorker(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name string
		wake []time.Duration // after the start
		pass time.Duration   // how long one takes
		want []time.Duration // when passes start
	}{
		{"nobody wakes it", nil, 0, nil},
		{"the first is at once", []time.Duration{0}, 0, []time.Duration{0}},
		{"after quiet it is at once again", []time.Duration{0, 50 * ms}, 0, []time.Duration{0, 50 * ms}},
		{"so are the next two", []time.Duration{0, ms, 2 * ms}, 0, []time.Duration{0, ms, 2 * ms}},
		{"a burst is answered by one more pass", []time.Duration{0, ms, 2 * ms, 3 * ms, 4 * ms, 5 * ms}, 0, []time.Duration{0, ms, 2 * ms, 10 * ms}},
		{"after some quiet there is room for another", []time.Duration{0, ms, 2 * ms, 20 * ms, 21 * ms, 22 * ms, 23 * ms}, 0, []time.Duration{0, ms, 2 * ms, 20 * ms, 21 * ms, 30 * ms}},
		{"those during a pass are answered when it ends", []time.Duration{0, 5 * ms, 30 * ms}, 40 * ms, []time.Duration{0, 40 * ms}},
		{
			"a steady stream is a pass every 10 ms",
			[]time.Duration{0, 4 * ms, 8 * ms, 12 * ms, 16 * ms, 20 * ms, 24 * ms}, ms,
			[]time.Duration{0, 4 * ms, 8 * ms, 12 * ms, 20 * ms, 30 * ms},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				start := time.Now()
				var got []time.Duration
				w := reconcile.NewWorker()
				done := make(chan error)
				go func() {
					done <- w.Run(ctx, func() {
						got = append(got, time.Since(start))
						time.Sleep(tt.pass) // fake time
					})
				}()
				for _, at := range tt.wake {
					time.Sleep(at - time.Since(start))
					w.Wake()
				}
				time.Sleep(time.Second)
				cancel()
				if err := <-done; err != nil {
					t.Fatalf("run: %v", err)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("passes (-want +got):\n%s", diff)
				}
			})
		})
	}
}
