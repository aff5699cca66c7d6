// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/process"
)

// daemons returns Herald's daemons that talk to the API server.
func (b *bench) daemons() []*lab.Daemon { return slices.Concat(b.Controllers, b.Agents) }

// restarts measures restarts with all Services: of an agent that crashes, of a controller
// that does, and of FRR's container where there is one.
func (b *bench) restarts(ctx context.Context, m mass) error {
	ctx, cancel := bounded(ctx, m)
	defer cancel()
	routes, err := b.massRoutes(ctx, m)
	if err != nil {
		return err
	}
	n := b.Nodes[0]
	agent := b.Agent(n)
	err = b.restart(ctx, routes, "agent killed", n, agent, func() error {
		if err := agent.Kill(); err != nil {
			return err
		}
		return agent.Start()
	}, b.synced(agent))
	if err != nil {
		return err
	}
	controller, err := b.leader(ctx)
	if err != nil {
		return err
	}
	err = b.restart(ctx, routes, "leading controller killed", n, controller, func() error {
		if err := controller.Kill(); err != nil {
			return err
		}
		return controller.Start()
	}, b.leading)
	if err != nil || n.Sidecar == nil {
		return err
	}
	return b.restart(ctx, routes, "FRR's container restarted", n, &n.Sidecar.Daemon, n.Sidecar.Restart, b.synced(agent))
}

// restart measures one restart: what it does to routes, and how long it takes until all is
// as it was, which the condition reports by nil.
func (b *bench) restart(ctx context.Context, routes []netip.Prefix, what string, n *lab.Node, d *lab.Daemon, restart func() error, condition func(context.Context) error) error {
	start := time.Now()
	if err := restart(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	up := time.Now()
	if err := process.Poll(ctx, 10*time.Millisecond, func() error { return condition(ctx) }); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	settled := time.Now()
	r := Restart{What: what, Down: Seconds(up.Sub(start))}
	for _, p := range routes {
		at, err := b.routes.Wait(ctx, p, time.Now(), b.viaAll())
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		settled = later(settled, at)
		gone, without, gap := missed(b.routes.History(p), start, n.Addr4)
		if gone {
			r.Withdrawn++
		}
		if without {
			r.Paths++
			r.Longest = max(r.Longest, Seconds(gap))
		}
	}
	r.Settled = Seconds(settled.Sub(start))
	if slices.Contains(b.daemons(), d) {
		all, err := b.memory(ctx)
		if err != nil {
			return err
		}
		m := all[d.Name]
		r.Memory = &m
	}
	b.report.Restarts = append(b.report.Restarts, r)
	if _, _, err := b.settle(ctx); err != nil {
		return err
	}
	return b.end(what)
}

// missed reports whether a route was gone since a time, whether it was there without a
// next hop, and for how long at most it was one or the other.
func missed(history []lab.RouteChange, since time.Time, hop netip.Addr) (gone, without bool, longest time.Duration) {
	var from time.Time
	for _, c := range history {
		if c.Time.Before(since) {
			continue
		}
		switch has := slices.Contains(c.NextHops, hop); {
		case !has && from.IsZero():
			from = c.Time
		case has && !from.IsZero():
			longest, from = max(longest, c.Time.Sub(from)), time.Time{}
		}
		gone, without = gone || !c.Present, without || !from.IsZero()
	}
	return gone, without, longest
}

// synced returns the condition that FRR runs what an agent wants.
func (b *bench) synced(agent *lab.Daemon) func(context.Context) error {
	return func(ctx context.Context) error {
		page, err := agent.Get(ctx, "/metrics")
		if err != nil {
			return err
		}
		if !strings.Contains(page, "\nherald_frr_applied 1\n") {
			return errors.New("FRR does not run what the agent wants")
		}
		return nil
	}
}

// leading is the condition that a controller leads.
func (b *bench) leading(ctx context.Context) error {
	_, err := b.leader(ctx)
	return err
}

// leader returns the controller that leads.
func (b *bench) leader(ctx context.Context) (*lab.Daemon, error) {
	var errs error
	for _, c := range b.Controllers {
		page, err := c.Get(ctx, "/metrics")
		if err == nil && strings.Contains(page, "\nherald_leading 1\n") {
			return c, nil
		}
		errs = errors.Join(errs, err)
	}
	return nil, errors.Join(errors.New("no controller leads"), errs)
}
