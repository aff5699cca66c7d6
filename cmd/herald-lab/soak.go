// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/lab/soak"
)

// errViolated is how soak ends after it has reported a violation.
var errViolated = errors.New("an invariant was violated")

// soakOptions are the flags of soak.
type soakOptions struct {
	seed          uint64
	steps, from   int
	replay        string
	save, report  string
	strict, going bool
	print, dump   bool
	shrink        time.Duration
	within        time.Duration
	logs          string
}

func soakCommand() *cobra.Command {
	var o soakOptions
	c := &cobra.Command{
		Use:   "soak",
		Short: "Run random faults on a lab of its own, and check that Herald keeps its promises",
		Long: `Soak draws steps from a seed: objects change, processes are killed, stopped and frozen,
the API server is slow or away, disks are full, cables cut, ports flooded. Meanwhile it
checks what must always be so. It exits with 1 if something was not.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return o.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	fs := c.Flags()
	fs.Uint64Var(&o.seed, "seed", 1, "`number` that the steps are drawn from")
	fs.IntVar(&o.steps, "steps", 60, "how many `steps`")
	fs.IntVar(&o.from, "from", 1, "`number` of the step to begin with, on a lab as the steps before would leave it")
	fs.StringVar(&o.replay, "replay", "", "`file` with steps, as --save writes it; they are carried out instead")
	fs.StringVar(&o.save, "save", "", "`file` to write the steps to: the shortest list that fails, if --shrink finds one")
	fs.StringVar(&o.report, "json", "", "`file` to write the report to, as JSON")
	fs.BoolVar(&o.strict, "strict", false, "allow no more time than on a machine without other work")
	fs.BoolVar(&o.going, "keep-going", false, "go on after a violation")
	fs.BoolVar(&o.print, "print", false, "print the steps, and do nothing")
	fs.BoolVar(&o.dump, "dump", false, "after a violation, print configurations, routes and logs of all machines")
	fs.StringVar(&o.logs, "logs", "", "`folder` to copy the daemons' logs to")
	fs.DurationVar(&o.shrink, "shrink", 0, "after a violation, look for the shortest list of steps that fails, for so long; 0: do not")
	fs.DurationVar(&o.within, "within", 0, "start no step after this time; 0: no limit")
	return c
}

// plan returns the steps.
func (o soakOptions) plan() (soak.Plan, error) {
	if o.replay == "" {
		return soak.Generate(o.seed, o.steps), nil
	}
	f, err := os.Open(o.replay)
	if err != nil {
		return soak.Plan{}, err
	}
	defer f.Close()
	return soak.ReadPlan(f)
}

func (o soakOptions) run(ctx context.Context, out, log io.Writer) error {
	plan, err := o.plan()
	if err != nil {
		return err
	}
	if o.print {
		return plan.Write(out)
	}
	opts := soak.Options{Plan: plan, Limits: soak.Generous, From: o.from, KeepGoing: o.going, Within: o.within, Log: log, Logs: o.logs}
	if o.strict {
		opts.Limits = soak.Strict
	}
	if o.dump {
		opts.Dump = log
	}
	report, err := soak.Run(ctx, opts)
	if err != nil {
		return err
	}
	if report.Failed() && o.shrink > 0 {
		report.Shrunk = shortest(ctx, opts, report, o.shrink)
	}
	saved := soak.Plan{Seed: plan.Seed, Steps: plan.Steps}
	if len(report.Shrunk) > 0 {
		saved.Steps = report.Shrunk
	}
	err = errors.Join(report.WriteText(out), write(o.save, saved.Write), write(o.report, report.WriteJSON))
	if report.Failed() {
		err = cmp.Or(err, errViolated)
	}
	return err
}

// shortest shrinks the steps of a run that failed. Each attempt is on a lab of its own,
// and fails if it violates one of the same invariants.
func shortest(ctx context.Context, opts soak.Options, report soak.Report, limit time.Duration) []soak.Step {
	end := time.Now().Add(limit)
	var steps []soak.Step
	for _, d := range report.Steps {
		steps = append(steps, d.Step)
	}
	more := func() bool { return ctx.Err() == nil && time.Now().Before(end) }
	return soak.Shrink(steps, more, func(steps []soak.Step) bool {
		try := opts
		try.Plan.Steps, try.From, try.KeepGoing, try.Dump, try.Logs = steps, 1, false, nil, ""
		fmt.Fprintf(opts.Log, "shrink: try %d steps\n", len(steps))
		r, err := soak.Run(ctx, try)
		return err == nil && slices.ContainsFunc(r.Violations, func(v soak.Violation) bool {
			return slices.ContainsFunc(report.Violations, func(w soak.Violation) bool { return v.Invariant == w.Invariant })
		})
	})
}

// write writes a file, unless it has no name.
func write(name string, text func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(text(f), f.Close())
}
