// SPDX-License-Identifier: Apache-2.0

package lease_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes/fake"

	"github.com/heraldlb/herald/kube/lease"
)

// eventually fails the test if a condition does not come true in time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatalf("not in 10 s: %s", what)
		}
	}
}

func TestElection(t *testing.T) {
	client := fake.NewClientset().CoordinationV1()
	var leaders, most, terms atomic.Int64
	lead := func(ctx context.Context) error {
		terms.Add(1)
		if n := leaders.Add(1); n > 1 {
			most.Store(n)
		}
		<-ctx.Done()
		leaders.Add(-1)
		return nil
	}
	follow := func(ctx context.Context) error {
		<-ctx.Done()
		return nil
	}
	stand := func(identity string) (stop func(), leader func() string) {
		e := lease.New(lease.Options{
			Client: client, Namespace: "metallb-system", Name: "herald-controller", Identity: identity,
			Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- e.Run(ctx, lead, follow) }()
		return func() {
			t.Helper()
			cancel()
			if err := <-done; err != nil {
				t.Errorf("run: %v", err)
			}
		}, e.Leader
	}
	stopFirst, first := stand("first")
	eventually(t, "the first leads", func() bool { return leaders.Load() == 1 })
	stopSecond, second := stand("second")
	eventually(t, "both know who leads", func() bool { return first() == "first" && second() == "first" })
	stopFirst()
	start := time.Now()
	eventually(t, "the second leads", func() bool { return terms.Load() == 2 && leaders.Load() == 1 })
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("the second led %v after the first had given up", took)
	}
	eventually(t, "the second says that it leads", func() bool { return second() == "second" })
	stopSecond()
	if leaders.Load() != 0 || most.Load() > 1 {
		t.Errorf("%d lead at the end, %d at a time", leaders.Load(), most.Load())
	}
}
