// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/cmd/internal/daemon"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/status"
)

// holdFlag is a flag of drain that changes nothing unless it is given.
const holdFlag = "hold"

// drainLook is the time between two looks at a node that drains.
const drainLook = 500 * time.Millisecond

// errKept is what drain returns once it has printed that the node goes on
// announcing something.
var errKept = errors.New("the node still announces addresses")

// A drainer has nodes drain.
type drainer interface {
	Node(ctx context.Context, name string) (*cluster.Node, error)
	Drain(ctx context.Context, name string, d cluster.Drain) error
	reporter
}

// connect returns the API server that a kubeconfig file names.
func connect(kubeconfig string) (*kube.Client, error) {
	api, err := kube.NewUserConfig(kubeconfig, "heraldctl/"+daemon.Version())
	if err != nil {
		return nil, err
	}
	return kube.NewClient(api)
}

// A drainJob is what heraldctl drain was asked for.
type drainJob struct {
	kubeconfig string
	namespace  string
	force      bool
	hold       time.Duration // 0: not said
	wait       bool
	timeout    time.Duration
}

func drainCommand() *cobra.Command {
	var job drainJob
	cmd := &cobra.Command{
		Use:   "drain NODE",
		Short: "Have a node hand over what it announces",
		Long: `Drain sets the annotation ` + cluster.AnnotationDrain + ` of a Node. Its agent then tells
routers to prefer other paths (RFC 8326), hands over what it answers for on layer 2, and
withdraws its routes once FRR has asked for other paths for ` + cluster.DefaultDrainHold.String() + `, or as long as
--hold says. What no other node was seen to announce (a router was sent the route, or the
node has answered) it goes on announcing until one is, unless --force is given.
The node stays so until "undrain". A node that drains already is left as it is, but for
--force and --hold, which count from when it began: whoever sees that routers have moved
ends the wait with --hold ` + cluster.MinDrainHold.String() + `.

With --wait it asks the node's agent, by way of the API server, until that announces
nothing any more, or only what no other node was seen to announce, and lists what was
handed over and what was kept, with the reason. If the agent cannot be asked at first, the node does not begin to drain.

Exit status: 0 if the node drains and, with --wait, announces nothing any more; 1 if it
goes on announcing what no other node was seen to; 2 if it could not be done, or is not over in
time.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed(holdFlag) {
				job.hold = 0
			} else if err := cluster.CheckDrainHold(job.hold); err != nil {
				return err
			}
			d, err := connect(job.kubeconfig)
			if err != nil {
				return err
			}
			return job.run(cmd.Context(), d, args[0], cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	kubeconfigFlag(cmd, &job.kubeconfig)
	flags.StringVar(&job.namespace, "namespace", heraldNamespace, "`namespace` that Herald runs in; with --wait")
	flags.BoolVar(&job.force, "force", false, "withdraw also what no other node was seen to announce")
	flags.DurationVar(&job.hold, holdFlag, cluster.DefaultDrainHold, "how long to ask for other paths before routes are withdrawn")
	flags.BoolVar(&job.wait, "wait", false, "return when the node announces nothing any more, or only what no other node does")
	flags.DurationVar(&job.timeout, "timeout", 2*time.Minute, "how long to wait, with --wait; besides --hold")
	return cmd
}

func undrainCommand() *cobra.Command {
	var kubeconfig string
	cmd := &cobra.Command{
		Use:   "undrain NODE",
		Short: "Have a drained node announce again",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := connect(kubeconfig)
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
	kubeconfigFlag(cmd, &kubeconfig)
	return cmd
}

// heraldNamespace is where Herald is, unless somebody has put it elsewhere.
const heraldNamespace = "metallb-system"

func kubeconfigFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "kubeconfig", "", "kubeconfig `file`; empty: the one that kubectl uses")
}

// run has a node drain, and waits for the end of it if asked to.
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
	fmt.Fprintf(out, "node %s drains: it withdraws its routes once it has asked for other paths for %v\n", node, holdOf(drain))
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

// begin has a node drain, unless it does so already, and returns how it does.
func (j drainJob) begin(ctx context.Context, d drainer, node string, now time.Time) (cluster.Drain, error) {
	n, err := d.Node(ctx, node)
	if err != nil {
		return cluster.Drain{}, err
	}
	want := cluster.Drain{Since: now.UTC().Truncate(time.Second), Hold: j.hold, Force: j.force}
	if !n.Drain.IsZero() { // it has asked for other paths already
		want.Since, want.Hold = n.Drain.Since, cmp.Or(j.hold, n.Drain.Hold)
	}
	if want == n.Drain {
		return want, nil
	}
	return want, d.Drain(ctx, node, want)
}

// holdOf returns how long a node asks for other paths.
func holdOf(d cluster.Drain) time.Duration { return cmp.Or(d.Hold, cluster.DefaultDrainHold) }

// await asks the node's agent until the drain is over. An agent that does not
// answer may be one that has just been started.
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

// report returns what the agent of a node says.
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

// printDrainage lists what became of what a node has announced. Handed over is only
// what another node was seen to announce.
func printDrainage(out io.Writer, node string, before []status.Decision, g announce.DrainProgress, drain cluster.Drain) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	in := func(list []status.Decision, d status.Decision) bool {
		return slices.ContainsFunc(list, func(l status.Decision) bool {
			return l.Service == d.Service && l.Addr == d.Addr && l.Protocol == d.Protocol
		})
	}
	for _, d := range before {
		gone := "withdrawn" // by force, or because of something else that has happened meanwhile
		switch {
		case !d.Announce || in(g.Left, d):
			continue
		case !drain.Force && in(g.Handed, d):
			gone = "handed over"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", gone, d.Service, d.Addr, d.Protocol)
	}
	for _, d := range g.Left {
		fmt.Fprintf(w, "kept\t%s\t%s\t%s\t%s\n", d.Service, d.Addr, d.Protocol, d.Detail)
	}
	w.Flush()
	if len(g.Left) == 0 {
		fmt.Fprintf(out, "node %s announces nothing any more\n", node)
		return
	}
	fmt.Fprintf(out, "node %s still announces what no other node does: %d of its addresses\n", node, len(g.Left))
}
