// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/bench"
)

// benchNamespace holds the Services that are measured.
const benchNamespace = "bench"

// withStatuses is up to how many Services a run has time for Herald's statuses of them.
const withStatuses = 1000

func benchCommand() *cobra.Command {
	var statuses bool
	var output string
	opts := bench.Options{Namespace: benchNamespace}
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure how fast Services get addresses and routes, and what that costs, in a lab of its own",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return fmt.Errorf("--output %q: want text or json", output)
			}
			if min(opts.Services, opts.Samples, opts.Burst) < 1 || opts.Rounds < 0 {
				return errors.New("--services, --samples, --burst: want at least 1")
			}
			if !c.Flags().Changed("service-status") {
				statuses = opts.Services <= withStatuses
			}
			start := time.Now()
			opts.Progress = func(format string, args ...any) {
				fmt.Fprintf(c.ErrOrStderr(), "%6.1fs "+format+"\n", append([]any{time.Since(start).Seconds()}, args...)...)
			}
			r, err := runBench(c.Context(), opts, statuses)
			if r != nil { // of a run that failed, what it measured until then
				err = errors.Join(err, printReport(c.OutOrStdout(), r, output))
			}
			return err
		},
	}
	fs := c.Flags()
	fs.IntVar(&opts.Services, "services", 1000, "Services that are there while others are measured")
	fs.IntVar(&opts.Samples, "samples", 50, "Services to measure one after the other in each series")
	fs.IntVar(&opts.Rounds, "rounds", 3, "how often a burst of more Services is made and deleted")
	fs.IntVar(&opts.Burst, "burst", 500, "Services in such a burst")
	fs.Float64Var(&opts.Churn, "churn", 2, "Services to make, and to delete, in a second of churn")
	fs.Float64Var(&opts.Changes, "changes", 20, "endpoints to move in a second of churn")
	fs.BoolVar(&opts.Restarts, "restarts", true, "measure restarts of an agent, of the leading controller and of FRR, too")
	fs.DurationVar(&opts.Settle, "settle", 2*time.Minute, "how long to wait for the last event and status after a change of many Services; what is not written by then goes on while others are measured")
	fs.BoolVar(&statuses, "service-status", true, fmt.Sprintf("let Herald write ServiceBGPStatus objects, which is most of the API server's work; off by default if there are more than %d Services", withStatuses))
	fs.StringVarP(&output, "output", "o", "text", "text or json")
	return c
}

// runBench measures on a lab whose agents run in their pods, beside herald-frr.
func runBench(ctx context.Context, opts bench.Options, statuses bool) (r *bench.Report, err error) {
	s, err := lab.UpStack(ctx, lab.StackOptions{
		Network: lab.Options{Sidecar: true}, Controllers: 2,
		Args: []string{"--log-level=info", fmt.Sprintf("--service-status=%t", statuses)},
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Down(context.WithoutCancel(ctx))) }()
	if err := s.Configure(ctx, bench.Config); err != nil {
		return nil, err
	}
	r, err = bench.Run(ctx, s, opts)
	if r != nil {
		r.Statuses = statuses
	}
	return r, err
}

func printReport(w io.Writer, r *bench.Report, output string) error {
	if output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	return r.WriteText(w)
}
