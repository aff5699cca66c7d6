// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
)

// A bench measures Herald on a Stack.
type bench struct {
	*lab.Stack
	routes *lab.RouteWatch // r1's kernel
	made   int             // Services made, for their names
}

// A timing is how long one Service took.
type timing struct {
	Request time.Duration // request to create it -> answer of the API server
	Status  time.Duration // request to create it -> address in its status
	First   time.Duration // -> route in r1's kernel, via any node
	All     time.Duration // -> route in r1's kernel, via every node
	Deleted time.Duration // request to delete it -> route gone from r1's kernel
}

const (
	// benchNamespace holds the Services, and backends of benchBackends, which
	// every Service selects.
	benchNamespace = "bench"
	benchBackends  = "bench"

	// writers is how many requests to the API server are under way at once when
	// Services are made in a burst.
	writers = 16

	benchPatience = 2 * time.Minute
)

// service describes the i-th Service.
func service(i int) controlplane.ServiceOptions {
	return controlplane.ServiceOptions{
		Namespace: benchNamespace, Name: fmt.Sprintf("web-%05d", i), Backends: benchBackends, NoNodePorts: true,
	}
}

func route(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// viaAll is the state of an IPv4 route via every node.
func (b *bench) viaAll() lab.RouteState {
	var hops []netip.Addr
	for _, n := range b.Nodes {
		hops = append(hops, n.Addr4)
	}
	return lab.Via(hops...)
}

// one makes a Service, deletes it again, and says how long each step took.
func (b *bench) one(ctx context.Context) (t timing, err error) {
	ctx, cancel := context.WithTimeout(ctx, benchPatience)
	defer cancel()
	opts := service(b.made)
	b.made++
	start := time.Now()
	if _, err := b.Cluster.CreateService(ctx, opts); err != nil {
		return t, err
	}
	t.Request = time.Since(start)
	addrs, err := b.Cluster.WaitAddress(ctx, opts.Namespace, opts.Name)
	if err != nil {
		return t, err
	}
	t.Status = time.Since(start)
	for _, w := range []struct {
		state lab.RouteState
		took  *time.Duration
	}{{lab.Present(), &t.First}, {b.viaAll(), &t.All}} {
		at, err := b.routes.Wait(ctx, route(addrs[0]), start, w.state)
		if err != nil {
			return t, err
		}
		*w.took = at.Sub(start)
	}
	start = time.Now()
	if err := b.Cluster.DeleteService(ctx, opts.Namespace, opts.Name); err != nil {
		return t, err
	}
	at, err := b.routes.Wait(ctx, route(addrs[0]), start, lab.Absent())
	t.Deleted = at.Sub(start)
	return t, err
}

// several measures one Service after the other.
func (b *bench) several(ctx context.Context, n int) ([]timing, error) {
	var all []timing
	for range n {
		t, err := b.one(ctx)
		if err != nil {
			return all, err
		}
		all = append(all, t)
	}
	return all, nil
}

// burst makes n Services at once and returns how long making them took, and how
// long after that all of them were routed via every node.
func (b *bench) burst(ctx context.Context, n int) (made, routed time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, benchPatience*time.Duration(1+n/1000))
	defer cancel()
	first := b.made
	b.made += n
	start := time.Now()
	var g errgroup.Group
	g.SetLimit(writers)
	for i := range n {
		g.Go(func() error {
			_, err := b.Cluster.CreateService(ctx, service(first+i))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return 0, 0, err
	}
	last := time.Now()
	end := last
	for i := range n {
		opts := service(first + i)
		addrs, err := b.Cluster.WaitAddress(ctx, opts.Namespace, opts.Name)
		if err != nil {
			return 0, 0, err
		}
		at, err := b.routes.Wait(ctx, route(addrs[0]), start, b.viaAll())
		if err != nil {
			return 0, 0, err
		}
		if at.After(end) {
			end = at
		}
	}
	return last.Sub(start), end.Sub(last), nil
}

// settle waits until Herald has said of all Services what there is to say: no
// daemon writes anything but a Lease for a while. It returns how long that took.
func (b *bench) settle(ctx context.Context) (time.Duration, error) {
	const quiet = 3 * time.Second
	ctx, cancel := context.WithTimeout(ctx, 5*benchPatience)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	var last map[string]int
	changed := start
	for time.Since(changed) < quiet {
		now, err := b.Writes(ctx)
		if err != nil {
			return 0, err
		}
		if !maps.Equal(now, last) {
			last, changed = now, time.Now()
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("wait for the last write: %w", ctx.Err())
		case <-tick.C:
		}
	}
	return changed.Sub(start), nil
}

// memory returns the resident bytes of the controller and of the largest agent.
func (b *bench) memory() (controller, agent int64, err error) {
	for _, c := range b.Controllers {
		m, err := c.Memory()
		if err != nil {
			return 0, 0, err
		}
		controller = max(controller, m)
	}
	for _, a := range b.Agents {
		m, err := a.Memory()
		if err != nil {
			return 0, 0, err
		}
		agent = max(agent, m)
	}
	return controller, agent, nil
}

// quantile returns the q-quantile of one figure, by the nearest rank.
func quantile(all []timing, q float64, figure func(timing) time.Duration) time.Duration {
	var values []time.Duration
	for _, t := range all {
		values = append(values, figure(t))
	}
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(int(q*float64(len(values))), len(values)-1)]
}
