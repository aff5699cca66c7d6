// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

// holdFlag is a flag of drain that changes nothing unless it is set.
const holdFlag = "hold"

// drainLook is the time between two looks at a draining node.
const drainLook = 500 * time.Millisecond

// errKept is the error of drain after it has printed which addresses the node still
// announces.
var errKept = errors.New("the node still announces addresses")

// A drainer drains nodes and asks their agents.
type drainer interface {
	Node(ctx context.Context, name string) (*cluster.Node, error)
	Drain(ctx context.Context, name string, d cluster.Drain) error
	reporter
}

// A drainJob has the flags of heraldctl drain.
type drainJob struct {
	namespace string
	force     bool
	hold      time.Duration // 0: not set
	wait      bool
	timeout   time.Duration
}

func drainCommand(to *connection) *cobra.Command {
	var job drainJob
	cmd := &cobra.Command{
		Use:   "drain NODE",
		Short: "Move a node's announcements to other nodes",
		Long: `Drain sets the annotation ` + cluster.AnnotationDrain + ` of a Node. The node's agent then
hands its addresses over:

  1. FRR marks the node's routes as worse than others (graceful shutdown, RFC 8326), so
     that routers prefer other paths. Other nodes take over addresses on layer 2.
  2. After ` + cluster.DefaultDrainHold.String() + `, or the time of --hold, the agent withdraws the routes.

The agent keeps announcing an address until another node was seen to announce it, unless
--force is given. Seen means that a router was sent the route, or that the node has
answered for the address.

The node stays drained until "undrain". For a node that drains already, only --force and
--hold change anything, and --hold counts from the start of the drain. If the routers
have moved their traffic, --hold ` + cluster.MinDrainHold.String() + ` ends the wait.

With --wait, drain asks the node's agent through the API server. It returns when the node
announces nothing any more, or only addresses that no other node was seen to announce.
It then lists the addresses handed over, and those kept with the reason. If the agent
does not answer at first, the drain does not begin.

Exit status: 0 if the node drains and, with --wait, announces nothing any more; 1 if the
node keeps addresses that no other node was seen to announce; 2 if the drain could not
begin, or did not end in time.`,
		Example: `  heraldctl drain n1 --wait
  heraldctl drain n1 --context prod --hold 30s`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed(holdFlag) {
				job.hold = 0
			} else if err := cluster.CheckDrainHold(job.hold); err != nil {
				return err
			}
			d, err := to.client()
			if err != nil {
				return err
			}
			job.namespace = to.namespace
			return job.run(cmd.Context(), d, args[0], cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&job.force, "force", false, "withdraw addresses that no other node was seen to announce, too")
	flags.DurationVar(&job.hold, holdFlag, cluster.DefaultDrainHold, "time for routers to prefer other paths before routes are withdrawn")
	flags.BoolVar(&job.wait, "wait", false, "return when the node announces nothing any more, or only addresses that no other node announces")
	flags.DurationVar(&job.timeout, "timeout", 2*time.Minute, "how long --wait waits, in addition to --hold")
	return cmd
}

func undrainCommand(to *connection) *cobra.Command {
	return &cobra.Command{
		Use:   "undrain NODE",
		Short: "End the drain of a node",
		Long: `Undrain removes the annotation ` + cluster.AnnotationDrain + ` of a Node. The node's agent
announces again what the node is to announce.

Exit status: 0 if the annotation is gone; 2 if it could not be removed.`,
		Example: `  heraldctl undrain n1 --context prod`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := to.client()
			if err != nil {
				return err
			}
			if err := d.Drain(cmd.Context(), args[0], cluster.Drain{}); err != nil {
				return err
			}
			cmd.Printf("node %s announces again\n", args[0])
			return nil
		},
	}
}

// run drains a node, and waits for the end with --wait.
func (j drainJob) run(ctx context.Context, d drainer, node string, out io.Writer) error {
	var before status.Report
	if j.wait {
		var err error
		if before, err = j.report(ctx, d, node); err != nil {
			return err
		}
	}
	drain, err := j.begin(ctx, d, node, time.Now())
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "node %s drains: FRR asks routers to prefer other paths for %v, then the routes are withdrawn\n", node, holdOf(drain))
	if !j.wait {
		return nil
	}
	g, err := j.await(ctx, d, node, drain)
	if err != nil {
		return err
	}
	printDrainage(out, node, before.Decisions, g, drain)
	if len(g.Left) > 0 {
		return errKept
	}
	return nil
}

// begin starts the drain of a node, or changes a drain that has begun, and returns it.
func (j drainJob) begin(ctx context.Context, d drainer, node string, now time.Time) (cluster.Drain, error) {
	n, err := d.Node(ctx, node)
	if err != nil {
		return cluster.Drain{}, err
	}
	want := cluster.Drain{Since: now.UTC().Truncate(time.Second), Hold: j.hold, Force: j.force}
	if !n.Drain.IsZero() { // the hold has begun already
		want.Since, want.Hold = n.Drain.Since, cmp.Or(j.hold, n.Drain.Hold)
	}
	if want == n.Drain {
		return want, nil
	}
	return want, d.Drain(ctx, node, want)
}

// holdOf returns the time between the start of a drain and the withdrawal.
func holdOf(d cluster.Drain) time.Duration { return cmp.Or(d.Hold, cluster.DefaultDrainHold) }

// await asks the node's agent until the drain is over. An agent that does not answer
// is asked again: it may just have been started.
func (j drainJob) await(ctx context.Context, d drainer, node string, drain cluster.Drain) (announce.DrainProgress, error) {
	limit := j.timeout + holdOf(drain)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not over after %v", limit))
	defer cancel()
	tick := time.NewTicker(drainLook)
	defer tick.Stop()
	for {
		r, err := j.report(ctx, d, node)
		left := ""
		if err == nil {
			g, over := announce.DrainProgressOf(r, drain)
			if over {
				return g, nil
			}
			left = fmt.Sprintf("the node still announces %d addresses", len(g.Left))
		} else {
			left = err.Error()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return announce.DrainProgress{}, fmt.Errorf("wait for node %s: %w: %s", node, context.Cause(ctx), left)
		}
	}
}

// report returns the report of a node's agent.
func (j drainJob) report(ctx context.Context, d drainer, node string) (status.Report, error) {
	agents, err := d.Agents(ctx, j.namespace)
	if err != nil {
		return status.Report{}, err
	}
	agent, err := agentOf(agents, node, j.namespace)
	if err != nil {
		return status.Report{}, err
	}
	return d.Report(ctx, agent)
}

// printDrainage lists what became of each address that a node has announced. An address
// counts as handed over only if another node was seen to announce it.
func printDrainage(out io.Writer, node string, before []status.Decision, g announce.DrainProgress, drain cluster.Drain) {
	t := newTable(out)
	in := func(list []status.Decision, d status.Decision) bool {
		return slices.ContainsFunc(list, func(l status.Decision) bool {
			return l.Service == d.Service && l.Addr == d.Addr && l.Protocol == d.Protocol
		})
	}
	for _, d := range before {
		gone := "withdrawn" // by force, or for another reason
		switch {
		case !d.Announce || in(g.Left, d):
			continue
		case !drain.Force && in(g.Handed, d):
			gone = "handed over"
		}
		t.row(gone, d.Service, d.Addr, d.Protocol)
	}
	for _, d := range g.Left {
		t.row("kept", d.Service, d.Addr, d.Protocol, d.Detail)
	}
	t.flush()
	if len(g.Left) == 0 {
		fmt.Fprintf(out, "node %s announces nothing any more\n", node)
		return
	}
	fmt.Fprintf(out, "node %s still announces what no other node does: %d of its addresses\n", node, len(g.Left))
}
