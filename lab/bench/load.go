// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/heraldlb/herald/lab"
)

// patience is how long one Service may take to a state, and loadPatience a thousand.
const (
	patience     = 30 * time.Second
	loadPatience = 3 * time.Minute
)

// bounded returns a context with the time that a mass may take.
func bounded(ctx context.Context, m mass) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, loadPatience*time.Duration(1+m.size/1000))
}

// fill makes all Services of a mass and waits until all of them are routed via every node.
func (b *bench) fill(ctx context.Context, m mass, l *Load) error {
	ctx, cancel := bounded(ctx, m)
	defer cancel()
	before, err := b.Writes(ctx)
	if err != nil {
		return err
	}
	start := time.Now()
	created, err := b.make(ctx, m)
	if err != nil {
		return err
	}
	last := time.Now()
	addressed, routed := last, last
	took := make([]time.Duration, m.size)
	for i := range took {
		e, err := b.book.wait(ctx, m.name(i))
		if err != nil {
			return err
		}
		took[i], addressed = e.at.Sub(created[i]), later(addressed, e.at)
		at, err := b.routes.Wait(ctx, route(e.addr), start, b.viaAll())
		if err != nil {
			return err
		}
		routed = later(routed, at)
	}
	settled, quiet, err := b.settle(ctx)
	if err != nil {
		return err
	}
	if quiet {
		l.Settled = new(Seconds(settled.Sub(last)))
	}
	after, err := b.Writes(ctx)
	if err != nil {
		return err
	}
	l.Writes = writesSince(before, after)
	l.Services, l.Address = m.size, distribution(took)
	l.Creation, l.Addressed = Seconds(last.Sub(start)), Seconds(addressed.Sub(last))
	l.Routed = Seconds(routed.Sub(last))
	if l.Full, err = b.memory(ctx); err != nil {
		return err
	}
	return b.end(l.Name + ": create")
}

// drop deletes all Services of a mass and waits until none of them is routed.
func (b *bench) drop(ctx context.Context, m mass, l *Load) error {
	ctx, cancel := bounded(ctx, m)
	defer cancel()
	routes, err := b.massRoutes(ctx, m)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := b.unmake(ctx, m); err != nil {
		return err
	}
	last := time.Now()
	gone := last
	for _, p := range routes {
		at, err := b.routes.Wait(ctx, p, start, lab.Absent())
		if err != nil {
			return err
		}
		gone = later(gone, at)
	}
	l.Deletion, l.Gone = Seconds(last.Sub(start)), Seconds(gone.Sub(last))
	if !m.stored {
		if err := b.deleteSlices(ctx, m.prefix); err != nil {
			return err
		}
	}
	if _, _, err := b.settle(ctx); err != nil {
		return err
	}
	if l.Empty, err = b.memory(ctx); err != nil {
		return err
	}
	return b.end(l.Name + ": delete")
}

// massRoutes returns the routes of a mass.
func (b *bench) massRoutes(ctx context.Context, m mass) ([]netip.Prefix, error) {
	routes := make([]netip.Prefix, m.size)
	for i := range routes {
		e, err := b.book.wait(ctx, m.name(i))
		if err != nil {
			return nil, err
		}
		routes[i] = route(e.addr)
	}
	return routes, nil
}

// settle waits until Herald has said of all Services what there is to say: no daemon
// writes anything but a Lease for a while. It returns when the last write was seen, and
// whether it was the last.
func (b *bench) settle(ctx context.Context) (at time.Time, quiet bool, err error) {
	tick := time.NewTicker(b.opts.Quiet / 15)
	defer tick.Stop()
	var last map[string]int
	start := time.Now()
	at = start
	for time.Since(at) < b.opts.Quiet {
		if time.Since(start) > b.opts.Settle {
			return at, false, nil
		}
		now, err := b.Writes(ctx)
		if err != nil {
			return at, false, err
		}
		if last != nil && !maps.Equal(now, last) {
			at = time.Now()
		}
		last = now
		select {
		case <-ctx.Done():
			return at, false, fmt.Errorf("wait for the last write: %w", context.Cause(ctx))
		case <-tick.C:
		}
	}
	return at, true, nil
}

// writesSince returns the requests between two counts, by verb and resource.
func writesSince(before, after map[string]int) map[string]int {
	out := map[string]int{}
	for labels, n := range after {
		var resource, verb string
		if _, err := fmt.Sscanf(labels, "resource=%q,verb=%q", &resource, &verb); err != nil {
			verb, resource = "write", labels
		}
		if n > before[labels] {
			out[verb+" "+resource] = n - before[labels]
		}
	}
	return out
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
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
