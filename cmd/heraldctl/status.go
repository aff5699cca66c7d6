// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/topology"
)

// errBroken is the error of status and why after they have printed what is broken.
var errBroken = errors.New("something is broken")

// errUnknown is the error of status and why after they have printed what could not be asked.
var errUnknown = errors.New("not all could be asked")

// A lookJob has the flags of commands that look at a whole Herald.
type lookJob struct {
	connection connectionFlags
	namespace  string
	output     viewFormat
	agents     int
}

// lookFlags are the flags of the daemons that commands take, where they are not the pods'.
var lookFlags = []struct{ name, usage string }{
	{"config", "`name` of the ConfigMap that Herald reads"},
	{"config-source", "whether ConfigMap or resources are in force: auto, configmap or resources"},
	{"lb-class", "spec.loadBalancer`Class` of the Services that Herald handles"},
	{"ignore-exclude-lb", "true if nodes with the label exclude-from-external-load-balancers announce, too"},
}

func (j *lookJob) addFlags(cmd *cobra.Command) {
	j.output = viewTable
	j.connection.add(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&j.namespace, "namespace", "n", heraldNamespace, "`namespace` that Herald runs in")
	flags.IntVar(&j.agents, "agents", 50, "ask so many agents at most; 0: none")
	flags.VarP(&j.output, "output", "o", "table, wide, json or yaml")
	for _, f := range lookFlags {
		flags.String(f.name, "", f.usage+", like the daemons' flag; without it, what the arguments of Herald's pods say")
	}
}

// look returns what is known now, given the node that is asked about.
func (j *lookJob) look(cmd *cobra.Command, node string) (topology.Topology, error) {
	client, err := j.connection.client()
	if err != nil {
		return topology.Topology{}, err
	}
	opts := kube.LookOptions{Namespace: j.namespace, Flags: map[string]string{}, Agents: j.agents, About: node}
	for _, f := range lookFlags {
		if cmd.Flags().Changed(f.name) {
			opts.Flags[f.name] = cmd.Flags().Lookup(f.name).Value.String()
		}
	}
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	in := kube.Look(ctx, client, opts)
	if err := ctx.Err(); err != nil {
		return topology.Topology{}, err
	}
	t := topology.Build(in)
	if t.Lacks(topology.KindServices) && t.Lacks(topology.KindResources) {
		i := slices.IndexFunc(in.Unasked, func(u topology.Unasked) bool { return u.What == topology.KindServices })
		return t, errors.New(in.Unasked[i].Error)
	}
	return t, nil
}

func statusCommand() *cobra.Command {
	var job lookJob
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
			if err := job.output.write(cmd.OutOrStdout(), t, func(w io.Writer, wide bool) error { return printStatus(w, t, wide) }); err != nil {
				return err
			}
			return verdictOn(t)
		},
	}
	job.addFlags(cmd)
	return cmd
}

// verdictOn returns the error that a Topology is to end a command with.
func verdictOn(t topology.Topology) error {
	switch t.Health() {
	case topology.Broken:
		return errBroken
	case topology.Untold:
		return errUnknown
	}
	return nil
}

// shownProblems is how many problems a screen lists.
const shownProblems = 8

// printStatus prints the overview.
func printStatus(out io.Writer, t topology.Topology, wide bool) error {
	p := newPrinter(out)
	p.line("Herald in %s: %s", t.Namespace, configurationText(t.Config))
	p.line("PROCESSES  %s", processesText(t))
	p.line("POOLS      %s", poolsText(t.Pools, wide))
	p.line("PEERS      %s", peersText(t.Peers))
	p.line("SERVICES   %s", servicesText(t.Services))
	p.unasked(t.Unasked, wide)
	p.problems(t.Problems, wide, t.Health() == topology.Untold)
	return p.err()
}

// configurationText says which configuration is in force.
func configurationText(c topology.Config) string {
	switch {
	case !c.Loaded && c.Refused:
		return "the configuration is refused; the last valid one stays in force"
	case !c.Loaded:
		return "there is no configuration"
	case c.Version == "":
		return "the configuration is " + c.Source
	}
	return fmt.Sprintf("the configuration is %s, version %s", c.Source, c.Version)
}

// processesText counts controllers and agents.
func processesText(t topology.Topology) string {
	ready, leader := 0, "no leader"
	for _, c := range t.Controllers {
		if c.Ready {
			ready++
		}
		if c.Leading {
			leader = "leader " + c.Pod
		}
	}
	running, asked := 0, 0
	by := map[string][]string{}
	for _, n := range t.Nodes {
		if n.Agent.Running {
			running++
		}
		if n.Agent.Asked {
			asked++
		}
		if n.Refusal != "" {
			by[string(n.Refusal)] = append(by[string(n.Refusal)], n.Name)
		}
		if n.Drain != "" {
			by["draining"] = append(by["draining"], n.Name)
		}
	}
	if t.Lacks(topology.KindPods) {
		return "not known: the pods in " + t.Namespace + " could not be read"
	}
	text := fmt.Sprintf("controllers %d of %d ready, %s; agents %d of %d running", ready, len(t.Controllers), leader, running, len(t.Nodes))
	if asked < running {
		text += fmt.Sprintf(", %d answered", asked)
	}
	for _, what := range slices.Sorted(maps.Keys(by)) {
		text += fmt.Sprintf("; %s: %s", what, cluster.List(by[what], ", "))
	}
	return text
}

// poolsText says how much of each pool is used.
func poolsText(pools []topology.Pool, wide bool) string {
	var parts []string
	for _, p := range pools {
		var usage []string
		for _, is4 := range []bool{true, false} {
			if u := p.Usage(is4); u != "" {
				usage = append(usage, u)
			}
		}
		parts = append(parts, p.Name+" "+strings.Join(usage, " and "))
	}
	return some(parts, "; ", wide)
}

// peersText counts sessions.
func peersText(peers []topology.Peer) string {
	up, wanted, unknown := 0, 0, 0
	for _, p := range peers {
		up, wanted = up+p.Up, wanted+p.Wanted
		for _, s := range p.Sessions {
			if s.Wanted && s.From == topology.FromRules {
				unknown++
			}
		}
	}
	if len(peers) == 0 {
		return "none"
	}
	text := fmt.Sprintf("%d, %d of %d sessions up", len(peers), up, wanted)
	if unknown > 0 {
		text += fmt.Sprintf(", %d not known", unknown)
	}
	return text
}

// servicesText counts Services by state.
func servicesText(services []topology.Service) string {
	count := map[string]int{}
	for _, s := range services {
		count[s.State]++
	}
	text := fmt.Sprintf("%d of type LoadBalancer", len(services))
	for _, of := range []struct{ state, word string }{
		{topology.StateAnnounced, "announced"}, {topology.StateDegraded, "announced, but not by all"}, {topology.StateNotAnnounced, "not announced"},
		{topology.StateNoAddress, "without an address"}, {topology.StateUnknown, "not known"}, {topology.StateOther, "of other load balancers"},
	} {
		if n := count[of.state]; n > 0 {
			text += fmt.Sprintf(", %d %s", n, of.word)
		}
	}
	return text
}
