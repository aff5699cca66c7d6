// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
)

// A timing is how long one Service took to each state, or missing.
type timing struct {
	request, address, route, routes, gone time.Duration

	err error // the first thing that was not reached, and why
}

// one makes a Service, deletes it again, and says how long each step took.
func (b *bench) one(ctx context.Context) (t timing) {
	t = timing{missing, missing, missing, missing, missing, nil}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	name := fmt.Sprintf("one-%05d", b.made)
	b.made++
	opts := controlplane.ServiceOptions{
		Namespace: b.opts.Namespace, Name: name, Backends: b.opts.Namespace, NoNodePorts: true,
		Annotations: map[string]string{"metallb.universe.tf/address-pool": samplePool},
	}
	start := time.Now()
	if _, t.err = b.Cluster.CreateService(ctx, opts); t.err != nil {
		return t
	}
	t.request = time.Since(start)
	e, err := b.book.wait(ctx, name)
	if err == nil {
		t.address = e.at.Sub(start)
		t.route, err = b.reach(ctx, e, start, lab.Present())
	}
	if err == nil {
		t.routes, err = b.reach(ctx, e, start, b.viaAll())
	}
	// A Service that was too slow is deleted all the same.
	start = time.Now()
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := errors.Join(err, b.deleteService(ctx, name)); err != nil {
		t.err = err
		return t
	}
	t.gone, t.err = b.reach(ctx, e, start, lab.Absent())
	return t
}

// reach waits until a Service's route is in a state, and returns how long after start
// that was.
func (b *bench) reach(ctx context.Context, e entry, start time.Time, state lab.RouteState) (time.Duration, error) {
	at, err := b.routes.Wait(ctx, route(e.addr), start, state)
	if err != nil {
		return missing, err
	}
	return at.Sub(start), nil
}

// series measures Services, one after the other.
func (b *bench) series(ctx context.Context, name string, n int) error {
	var request, address, routed, routes, gone []time.Duration
	for range n {
		if err := ctx.Err(); err != nil {
			return err
		}
		t := b.one(ctx)
		if t.err != nil {
			b.opts.Progress("%s: %v", name, t.err)
		}
		request, address = append(request, t.request), append(address, t.address)
		routed, routes, gone = append(routed, t.route), append(routes, t.routes), append(gone, t.gone)
	}
	b.report.Series = append(b.report.Series, Series{
		Name: name, Request: distribution(request), Address: distribution(address),
		Route: distribution(routed), Routes: distribution(routes), Gone: distribution(gone),
	})
	return b.end(name)
}

// churn measures Services while others are made and deleted, and endpoints move, at the
// rates of the options.
func (b *bench) churn(ctx context.Context, held mass) error {
	if b.opts.Churn == 0 && b.opts.Changes == 0 {
		return nil
	}
	c := &Churn{}
	inner, stop := context.WithCancel(ctx)
	defer stop()
	g, churning := errgroup.WithContext(inner)
	g.Go(func() error { return paced(churning, b.opts.Churn, b.turnOver(&c.Created)) })
	g.Go(func() error { return paced(churning, b.opts.Changes, b.move(held, &c.Changed)) })
	start := time.Now()
	err := b.series(churning, "churn", b.opts.Samples)
	stop()
	if cerr := g.Wait(); cerr != nil || err != nil {
		return errors.Join(cerr, err)
	}
	c.Seconds = Seconds(time.Since(start))
	b.report.Churn = c
	for _, name := range b.churned(c.Created) {
		if err := b.deleteService(ctx, name); err != nil {
			return err
		}
	}
	if err := b.deleteSlices(ctx, "churn"); err != nil {
		return err
	}
	_, _, err = b.settle(ctx)
	return err
}

// churnKept is how many of the Services of a churn there are at a time.
const churnKept = 10

func churnName(i int) string { return fmt.Sprintf("churn-%05d", i) }

// churned returns the names of the Services that a churn has left.
func (b *bench) churned(made int) (names []string) {
	for i := max(made-churnKept, 0); i < made; i++ {
		names = append(names, churnName(i))
	}
	return names
}

// turnOver returns what makes a Service, and deletes the oldest one that it made.
func (b *bench) turnOver(made *int) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := b.createMass(ctx, churnName(*made)); err != nil {
			return err
		}
		*made++
		if *made > churnKept {
			return b.deleteService(ctx, churnName(*made-churnKept-1))
		}
		return nil
	}
}

// move returns what moves an endpoint of a Service of a mass to another node. It takes one
// Service after the other.
func (b *bench) move(m mass, moved *int) func(context.Context) error {
	slices := b.client.DiscoveryV1().EndpointSlices(b.opts.Namespace)
	return func(ctx context.Context) error {
		name, move := m.name(*moved%m.size), 1+*moved/m.size
		if _, err := slices.Update(ctx, b.massSlice(name, move), metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("move endpoints of %s: %w", name, err)
		}
		*moved++
		return nil
	}
}

// paced calls a function so many times a second until the context is canceled. It makes
// up for calls that took longer.
func paced(ctx context.Context, rate float64, call func(context.Context) error) error {
	if rate == 0 {
		return nil
	}
	start := time.Now()
	for n := 0; ; n++ {
		due := start.Add(time.Duration(float64(n) / rate * float64(time.Second)))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Until(due)):
		}
		// A call that has begun is not cut short: it would leave half of what it does.
		if err := call(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
}
