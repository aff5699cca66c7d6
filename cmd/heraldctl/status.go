// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/topology"
)

// outcome returns the error for what status, why and doctor have printed: fine, broken or unknown.
func outcome(health string) error {
	switch health {
	case topology.ChainBroken:
		return errBroken
	case topology.ChainUnknown:
		return errUnknown
	}
	return nil
}

// errBroken is the error of status, why and doctor after they have printed what is broken.
var errBroken = errors.New("something is broken")

// errUnknown is the error of status, why and doctor after they have printed what could not be asked.
var errUnknown = errors.New("not all could be asked")

// lookWithin is how long a look at a whole Herald may take, if --request-timeout does not say.
const lookWithin = 30 * time.Second

// A lookJob has the flags of commands that look at a whole Herald.
type lookJob struct {
	connection *connection
	output     viewFormat
	agents     int
}

// lookFlags are the flags of the daemons that commands take, where they are not the pods'.
var lookFlags = []struct{ name, usage string }{
	{"config-file", "`path` of the file in Herald's pods that is read in place of ConfigMap and resources"},
	{"config", "`name` of the ConfigMap that Herald reads"},
	{"config-source", "whether ConfigMap or resources are in force: auto, configmap or resources"},
	{"lb-class", "spec.loadBalancer`Class` of the Services that Herald handles"},
	{"ignore-exclude-lb", "true if nodes with the label exclude-from-external-load-balancers announce, too"},
}

func (j *lookJob) addFlags(cmd *cobra.Command) {
	j.output = viewTable
	cmd.Flags().VarP(&j.output, "output", "o", "table, wide, json or yaml")
	j.addLookFlags(cmd)
}

// addLookFlags adds the flags about what is looked at.
func (j *lookJob) addLookFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.IntVar(&j.agents, "agents", 50, "ask so many agents at most; 0: none")
	for _, f := range lookFlags {
		flags.String(f.name, "", f.usage+", like the daemons' flag; without it, what the arguments of Herald's pods say")
	}
}

// look returns what is known now, given the node that is asked about.
func (j *lookJob) look(cmd *cobra.Command, node string) (t topology.Topology, err error) {
	err = j.read(cmd, node, func(_ context.Context, _ *kube.Client, in topology.Input) topology.Topology {
		t = topology.Build(in)
		return t
	})
	return t, err
}

// read calls a function with what was read, which may ask for more and makes a Topology of it.
func (j *lookJob) read(cmd *cobra.Command, node string, use func(context.Context, *kube.Client, topology.Input) topology.Topology) error {
	if j.agents < 0 {
		return fmt.Errorf("--agents=%d: want 0 or more", j.agents)
	}
	client, err := j.connection.client()
	if err != nil {
		return err
	}
	opts := kube.LookOptions{Namespace: j.connection.namespace, Flags: map[string]string{}, Agents: j.agents, About: node}
	for _, f := range lookFlags {
		if cmd.Flags().Changed(f.name) {
			opts.Flags[f.name] = cmd.Flags().Lookup(f.name).Value.String()
		}
	}
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	if f := cmd.Flags().Lookup("request-timeout"); f == nil || !f.Changed {
		limited, cancel := context.WithTimeoutCause(ctx, lookWithin, fmt.Errorf("the API server did not answer within %v; --request-timeout changes that", lookWithin))
		defer cancel()
		ctx = limited
	}
	in := kube.Look(ctx, client, opts)
	t := use(ctx, client, in)
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	if t.Lacks(topology.KindServices) && t.Lacks(topology.KindResources) {
		i := slices.IndexFunc(in.Unasked, func(u topology.Unasked) bool { return u.What == topology.KindServices })
		return errors.New(in.Unasked[i].Error)
	}
	return nil
}

func statusCommand(of *connection) *cobra.Command {
	job := lookJob{connection: of}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show whether everything works, and if not, what is broken and how to mend it",
		Long: `Status asks the API server and the nodes' agents, and prints one screen: the
configuration, controllers and agents, pools, BGP sessions and Services, and each problem
with its cause, its cure and the command to run next. It changes nothing and reads no
Secret. What could not be asked is listed; the rest is judged without it.

With -o wide all problems are listed, in place of the first ` + fmt.Sprint(shownProblems) + `. As JSON or YAML it is the
whole topology, which docs/troubleshooting.md describes.

Exit status: 0 if nothing is broken; 1 if something is; 2 if that could not be told.`,
		Example: `  heraldctl status
  heraldctl status -o json | jq '.problems[] | select(.severity == "error")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := job.look(cmd, "")
			if err != nil {
				return err
			}
			carryOn(cmd, t.Problems)
			if err := job.output.write(cmd.OutOrStdout(), t, func(w io.Writer, wide bool) error { return printStatus(w, t, wide) }); err != nil {
				return err
			}
			return outcome(t.Overall)
		},
	}
	job.addFlags(cmd)
	return cmd
}

// shownProblems is how many problems a screen lists.
const shownProblems = 8
