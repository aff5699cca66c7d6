// SPDX-License-Identifier: Apache-2.0

package lease_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/heraldlb/herald/kube/lease"
)

// A slowServer takes its time before a request takes effect, and again before it answers.
// A request that its client gives up takes effect all the same.
type slowServer struct {
	coordinationv1.LeasesGetter
	delay func() (effect, answer time.Duration)
	mu    *sync.Mutex // one request takes effect at a time, as with resource versions
	late  *sync.WaitGroup
}

func (s *slowServer) Leases(namespace string) coordinationv1.LeaseInterface {
	return slowLeases{s.LeasesGetter.Leases(namespace), s}
}

type slowLeases struct {
	coordinationv1.LeaseInterface
	server *slowServer
}

// answer returns the answer to a request.
func answer[T any](ctx context.Context, s *slowServer, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	effect, answer := s.delay()
	done := make(chan result, 1)
	s.late.Go(func() {
		time.Sleep(effect)
		s.mu.Lock()
		v, err := f()
		s.mu.Unlock()
		time.Sleep(answer)
		done <- result{v, err}
	})
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func (l slowLeases) Get(ctx context.Context, name string, o metav1.GetOptions) (*v1.Lease, error) {
	return answer(ctx, l.server, func() (*v1.Lease, error) { return l.LeaseInterface.Get(context.Background(), name, o) })
}

func (l slowLeases) Create(ctx context.Context, v *v1.Lease, o metav1.CreateOptions) (*v1.Lease, error) {
	v = v.DeepCopy()
	v.ResourceVersion = "1"
	return answer(ctx, l.server, func() (*v1.Lease, error) { return l.LeaseInterface.Create(context.Background(), v, o) })
}

// Update has the conflicts that the fake client lacks.
func (l slowLeases) Update(ctx context.Context, v *v1.Lease, o metav1.UpdateOptions) (*v1.Lease, error) {
	v = v.DeepCopy()
	return answer(ctx, l.server, func() (*v1.Lease, error) {
		is, err := l.LeaseInterface.Get(context.Background(), v.Name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		if is.ResourceVersion != v.ResourceVersion {
			return nil, fmt.Errorf("conflict: version %s, not %s", is.ResourceVersion, v.ResourceVersion)
		}
		v.ResourceVersion += "1"
		return l.LeaseInterface.Update(context.Background(), v, o)
	})
}

// A slowElection has two processes that stand for election at a slow API server.
type slowElection struct {
	leases               coordinationv1.LeasesGetter // past the slowness
	leaders, most, terms atomic.Int64
	led                  atomic.Int64 // nanoseconds
}

// run lets the processes stand until stop is called.
func (e *slowElection) run(t *testing.T, delay func(process int) (effect, answer time.Duration), processes int) (stop func()) {
	t.Helper()
	leases := fake.NewClientset().CoordinationV1()
	e.leases = leases
	var mu sync.Mutex
	var late sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for i := range processes {
		el := lease.New(lease.Options{
			Client: &slowServer{leases, func() (effect, answer time.Duration) { return delay(i) }, &mu, &late}, Namespace: "metallb-system", Name: "herald-controller", Identity: fmt.Sprint(i),
			Logger: slog.New(slog.NewTextHandler(t.Output(), nil)).With("process", i),
		})
		running.Go(func() {
			err := el.Run(ctx, func(ctx context.Context) error {
				start := time.Now()
				e.terms.Add(1)
				if n := e.leaders.Add(1); n > 1 {
					e.most.Store(n)
				}
				<-ctx.Done()
				e.leaders.Add(-1)
				e.led.Add(int64(time.Since(start)))
				return nil
			}, func(ctx context.Context) error {
				<-ctx.Done()
				return nil
			})
			if err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
	return func() {
		cancel()
		running.Wait()
		late.Wait()
		time.Sleep(time.Minute) // client-go's last timers
	}
}

// A process leads, and goes on leading, however long the API server takes for an answer.
func TestSlowServer(t *testing.T) {
	for _, delay := range []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond, 2200 * time.Millisecond, 5 * time.Second, 10 * time.Second} {
		t.Run(delay.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var e slowElection
				stop := e.run(t, func(int) (effect, answer time.Duration) { return delay / 2, delay / 2 }, 2)
				time.Sleep(time.Minute)
				if e.leaders.Load() != 1 {
					t.Errorf("%d lead after a minute", e.leaders.Load())
				}
				terms := e.terms.Load()
				time.Sleep(3 * time.Minute)
				if e.leaders.Load() != 1 || e.terms.Load() != terms {
					t.Errorf("%d lead after 3 more minutes, in term %d after %d", e.leaders.Load(), e.terms.Load(), terms)
				}
				stop()
				if e.most.Load() > 1 {
					t.Errorf("%d led at a time", e.most.Load())
				}
			})
		})
	}
}

// An API server that becomes slow costs the leader one term, and one that is fast again has
// a leader that dies replaced soon.
func TestServerBecomesSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var delay atomic.Int64
		var e slowElection
		stop := e.run(t, func(int) (effect, answer time.Duration) { return 0, time.Duration(delay.Load()) }, 1)
		time.Sleep(10 * time.Second)
		delay.Store(int64(5 * time.Second))
		time.Sleep(time.Minute)
		if e.leaders.Load() != 1 || e.terms.Load() > 2 {
			t.Errorf("with a slow server %d lead, in term %d", e.leaders.Load(), e.terms.Load())
		}
		delay.Store(0)
		time.Sleep(4 * time.Minute)
		start := time.Now()
		delay.Store(int64(time.Hour))
		for e.leaders.Load() == 1 {
			time.Sleep(100 * time.Millisecond)
		}
		if led := time.Since(start); led > 4200*time.Millisecond {
			t.Errorf("led %v without renewing the Lease", led)
		}
		delay.Store(0)
		stop()
	})
}

// An API server that is slow now and then, and fast in between, costs the leader one term
// and not one each time.
func TestServerSlowAtTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answers atomic.Int64
		var e slowElection
		stop := e.run(t, func(int) (effect, answer time.Duration) {
			if answers.Add(1)%16 < 2 { // two in a row
				return 0, 3 * time.Second
			}
			return 0, 50 * time.Millisecond
		}, 1)
		time.Sleep(10 * time.Minute)
		if e.leaders.Load() != 1 || e.terms.Load() > 2 {
			t.Errorf("%d lead after 10 minutes, in term %d", e.leaders.Load(), e.terms.Load())
		}
		stop()
	})
}

// Whatever the API server does, no two processes lead at a time.
func TestOneLeader(t *testing.T) {
	const seeds = 5
	var led time.Duration
	for seed := range uint64(seeds) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			upTo := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d) + 1)) }
			var mu sync.Mutex
			slow := make([]time.Duration, 3) // by process, the most that an answer takes
			delay := func(process int) (effect, answer time.Duration) {
				mu.Lock()
				defer mu.Unlock()
				if random.IntN(8) == 0 {
					slow[process] = []time.Duration{time.Millisecond, 3 * time.Second, 15 * time.Second, time.Minute}[random.IntN(4)]
				}
				answer = upTo(slow[process])
				if random.IntN(2) == 0 {
					effect = upTo(answer)
				}
				return effect, answer - effect
			}
			var e slowElection
			stop := e.run(t, delay, 3)
			time.Sleep(20 * time.Minute)
			stop()
			if e.most.Load() > 1 {
				t.Fatalf("seed %d: %d led at a time", seed, e.most.Load())
			}
			led += time.Duration(e.led.Load())
		})
	}
	t.Logf("led %v of %v", led, seeds*20*time.Minute)
}
