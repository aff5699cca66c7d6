// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// A lossy Lease takes writes without an answer while it is lost.
type lossy struct {
	resourcelock.Interface
	lost    bool
	written int // the duration of the Lease, in seconds
}

func (l *lossy) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	l.written = r.LeaseDurationSeconds
	if l.lost {
		<-ctx.Done()
	}
	return ctx.Err()
}

// A write without an answer may have shortened the Lease: from its beginning on this
// process leads no longer than that Lease allows.
func TestLostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &lossy{}
		l := newLock(server, slog.New(slog.DiscardHandler))
		l.now, l.calm = 3, calmAnswers-1
		start := time.Now()
		ended := make(chan time.Duration, 1)
		update := func(lost bool, duration int) {
			t.Helper()
			server.lost = lost
			if err := l.Update(t.Context(), resourcelock.LeaderElectionRecord{}); (err != nil) != lost {
				t.Fatalf("update: %v", err)
			}
			if server.written != duration {
				t.Errorf("the Lease is of %d s, want %d", server.written, duration)
			}
		}
		update(false, 18)
		stop := l.onExpiry(func() { ended <- time.Since(start) })
		time.Sleep(time.Second)
		update(true, 12) // until 9 s, and 12 s by the Lease before
		if led := <-ended; led != 9*time.Second {
			t.Errorf("led for %v, want 9s", led)
		}
		stop()
	})
}

func TestPace(t *testing.T) {
	for _, c := range []struct {
		is   pace
		took time.Duration
		late bool
		calm int
		want pace
		then int
	}{
		{1, 1100 * time.Millisecond, false, 5, 2, 0},
		{1, 2 * time.Second, true, 5, 2, 0},
		{2, 4 * time.Second, true, 5, 4, 0},
		{4, 8 * time.Second, true, 5, 6, 0},
		{4, 5 * time.Second, false, 5, 5, 0},
		{4, 4 * time.Second, false, 5, 4, 0},
		{6, 10 * time.Second, false, 5, 6, 0},
		{6, 10 * time.Millisecond, false, 5, 6, 6},
		{6, 10 * time.Millisecond, false, calmAnswers - 1, 5, 0},
		{2, 10 * time.Millisecond, false, calmAnswers - 1, 1, 0},
		{2, 1100 * time.Millisecond, false, calmAnswers - 1, 2, 0},
	} {
		if got, then := c.is.after(c.took, c.late, c.calm); got != c.want || then != c.then {
			t.Errorf("pace %d after an answer in %v (late: %v) and %d calm ones is %d with %d, want %d with %d", c.is, c.took, c.late, c.calm, got, then, c.want, c.then)
		}
	}
}
