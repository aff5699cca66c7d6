// SPDX-License-Identifier: Apache-2.0

// Package lease lets one process at a time lead: the one that holds a Lease.
package lease

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"golang.org/x/sync/errgroup"
)

// NewClient returns a client for Leases, for what kube.NewConfig made.
func NewClient(c *rest.Config) (coordinationv1.LeasesGetter, error) {
	c = rest.CopyConfig(c)
	c.Timeout = slowest.request()
	k, err := coordinationv1.NewForConfig(c)
	if err != nil {
		return nil, fmt.Errorf("API server: %w", err)
	}
	return k, nil
}

// Options name the Lease that the leader holds.
type Options struct {
	Client    coordinationv1.LeasesGetter // required
	Namespace string                      // required
	Name      string                      // required
	Identity  string                      // required: different in each process
	Logger    *slog.Logger                // required
}

// An Election lets one process at a time lead.
type Election struct {
	opts   Options
	lock   *lock
	leader atomic.Pointer[string] // the identity that was seen to lead; nil: none
}

// Leader returns the identity of the process that leads, as far as this one has seen. It is
// empty before it has seen one.
func (e *Election) Leader() string {
	if id := e.leader.Load(); id != nil {
		return *id
	}
	return ""
}

// New returns an Election that this process does not stand in until it
// runs.
func New(opts Options) *Election {
	return &Election{opts: opts, lock: newLock(&resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: opts.Namespace, Name: opts.Name},
		Client:     opts.Client,
		LockConfig: resourcelock.ResourceLockConfig{Identity: opts.Identity},
	}, opts.Logger)}
}

// Run calls lead each time that this process becomes the leader, and cancels its
// context as soon as it no longer is; in between it calls follow, never at the
// same time. When ctx is canceled, the Lease is given up, but only after lead
// has returned: no two processes lead at a time.
func (e *Election) Run(ctx context.Context, lead, follow func(context.Context) error) error {
	for ctx.Err() == nil {
		if err := e.term(ctx, lead, follow); err != nil {
			return err
		}
	}
	return nil
}

// term follows until it is elected, and then leads, once.
func (e *Election) term(ctx context.Context, lead, follow func(context.Context) error) error {
	elected := make(chan context.Context, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:          e.lock,
		LeaseDuration: slowest.lease(), // at most: the lock has the time that counts
		RenewDeadline: slowest.renew(),
		RetryPeriod:   retryPeriod,
		Name:          e.opts.Name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(held context.Context) { elected <- held },
			OnStoppedLeading: func() {}, // held is canceled
			OnNewLeader:      func(id string) { e.leader.Store(&id) },
		},
	})
	if err != nil {
		return fmt.Errorf("election: %w", err)
	}
	// The Lease is renewed until lead has returned, not just until ctx ends.
	renewCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	var renewal errgroup.Group
	renewal.Go(func() error {
		elector.Run(renewCtx)
		return nil
	})
	held, err := await(ctx, elected, follow)
	if held != nil && err == nil {
		err = e.lead(ctx, held, lead)
	}
	stop()
	renewal.Wait()
	e.release(context.WithoutCancel(ctx))
	return err
}

// await calls follow until this process is elected or ctx ends. It returns the
// context of the election, which is canceled when the Lease is lost; nil if there
// was none.
func await(ctx context.Context, elected <-chan context.Context, follow func(context.Context) error) (held context.Context, err error) {
	g, ctx := errgroup.WithContext(ctx)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g.Go(func() error { return follow(ctx) })
	select {
	case <-ctx.Done():
	case held = <-elected:
	}
	stop()
	return held, g.Wait()
}

// lead leads until ctx or held is canceled, or the Lease was not renewed in time.
func (e *Election) lead(ctx, held context.Context, lead func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(held, cancel)()
	defer e.lock.onExpiry(cancel)()
	e.opts.Logger.Info("leading")
	err := lead(ctx)
	e.opts.Logger.Info("no longer leading")
	return err
}

// release lets another process lead at once, if this one holds the Lease. The
// elector's own way of doing so would go on leading meanwhile.
func (e *Election) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, e.lock.pace().request())
	defer cancel()
	record, _, err := e.lock.Get(ctx)
	if err != nil || record.HolderIdentity != e.opts.Identity {
		return // it expires by itself
	}
	record.HolderIdentity = ""
	record.LeaseDurationSeconds = 1
	if err := e.lock.Interface.Update(ctx, *record); err != nil {
		e.opts.Logger.Debug("lease not released", "err", err)
	}
}
