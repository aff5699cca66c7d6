// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
)

// benchConfig lets every node peer with r1 alone, so that nobody else's work is
// measured.
const benchConfig = `
peers: [{my-asn: 64512, peer-asn: 64513, peer-address: 10.10.0.254}]
address-pools: [{name: bench, protocol: bgp, addresses: [10.240.0.0/16]}]
`

func benchCommand() *cobra.Command {
	var samples, services int
	var statuses bool
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure how fast Services get addresses and routes, in its own lab",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return runBench(c.Context(), c.OutOrStdout(), samples, services, statuses)
		},
	}
	c.Flags().IntVar(&samples, "samples", 25, "Services to measure one after the other in each round")
	c.Flags().IntVar(&services, "services", 1000, "Services to create in a burst; they stay while others are measured")
	c.Flags().BoolVar(&statuses, "service-status", true, "let Herald write ServiceBGPStatus objects, which add load on the API server")
	return c
}

func runBench(ctx context.Context, out io.Writer, samples, services int, statuses bool) (err error) {
	s, err := lab.UpStack(ctx, lab.StackOptions{Args: []string{fmt.Sprintf("--service-status=%t", statuses)}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Down(context.WithoutCancel(ctx))) }()
	b := &bench{Stack: s}
	if b.routes, err = s.Router.WatchRoutes(); err != nil {
		return err
	}
	defer b.routes.Close()
	if err := s.Configure(ctx, benchConfig); err != nil {
		return err
	}
	if err := s.SetBackends(ctx, controlplane.ServiceOptions{Namespace: benchNamespace, Name: benchBackends}); err != nil {
		return err
	}
	// The first Service waits for the sessions; it is not measured.
	if _, err := b.one(ctx); err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "what\tmedian\t99th percentile\tgoal")
	idle, err := b.several(ctx, samples)
	if err != nil {
		return err
	}
	report(table, "", idle)
	made, routed, err := b.burst(ctx, services)
	if err != nil {
		return err
	}
	controller, agent, err := b.memory()
	if err != nil {
		return err
	}
	busy, err := b.several(ctx, samples)
	if err != nil {
		return err
	}
	settled, err := b.settle(ctx)
	if err != nil {
		return err
	}
	calm, err := b.several(ctx, samples)
	if err != nil {
		return err
	}
	report(table, fmt.Sprintf(", with %d Services", services), calm)
	report(table, fmt.Sprintf(", right after a burst of %d", services), busy)
	fmt.Fprintf(table, "%d Services in a burst: creation of the last -> all in the ToR's kernel\t%v\t\t1s\n", services, millis(routed))
	fmt.Fprintf(table, "  making them took\t%v\t\t\n", millis(made))
	fmt.Fprintf(table, "  until its statuses and events were written\t%v\t\t\n", millis(settled))
	fmt.Fprintf(table, "memory of the controller at %d Services\t%.1f MB\t\t40 MB\n", services, float64(controller)/1e6)
	fmt.Fprintf(table, "memory of an agent at %d Services\t%.1f MB\t\t40 MB\n", services, float64(agent)/1e6)
	return table.Flush()
}

// report writes the rows of a series.
func report(w io.Writer, when string, all []timing) {
	for _, row := range []struct {
		what, goal string
		figure     func(timing) time.Duration
	}{
		{"Service created, the API server's part of what follows", "", func(t timing) time.Duration { return t.Request }},
		{"Service created -> address in its status", "15ms, 50ms", func(t timing) time.Duration { return t.Status }},
		{"Service created -> route in the ToR's kernel", "150ms, 300ms", func(t timing) time.Duration { return t.First }},
		{"Service created -> route via every node", "", func(t timing) time.Duration { return t.All }},
		{"Service deleted -> route gone", "150ms", func(t timing) time.Duration { return t.Deleted }},
	} {
		fmt.Fprintf(w, "%s%s\t%v\t%v\t%s\n", row.what, when,
			millis(quantile(all, 0.5, row.figure)), millis(quantile(all, 0.99, row.figure)), row.goal)
	}
}

func millis(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
