// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
)

// A renderJob has the flags of heraldctl render.
type renderJob struct {
	source
	manifests   []string // files and folders; none: the cluster's objects
	node        string
	announce    announce.Options
	showSecrets bool
	decisions   bool
}

func renderCommand(from *connection) *cobra.Command {
	var job renderJob
	cmd := &cobra.Command{
		Use:   "render {-f CONFIG...|--cluster} {--objects FILE|--cluster} --node NAME",
		Short: "Print the frr.conf that the agent of a node would write",
		Long: `Render prints the frr.conf that the agent of a node would write. It needs a
configuration and the objects of a cluster: Nodes, Services with their status, and
EndpointSlices, as kubectl prints them. Objects of other kinds are ignored. With
--cluster, a configuration or objects that are not named are read from the cluster.

` + configurationHelp + `

With --decisions it shows for each address of a Service whether the node would announce
it, and why not. The owner of an address on layer 2 depends on which agents are alive:
the agents of all Nodes count as alive here.

Exit status: 0 if the result was printed; 1 if the configuration or an object has a
mistake; 2 if one cannot be read.`,
		Example: `  kubectl get nodes,services,endpointslices -A -o yaml > objects.yaml
  heraldctl render -f config.yaml --objects objects.yaml --node n1
  heraldctl render -f config.yaml --objects objects.yaml --node n1 --decisions`,
		RunE: func(cmd *cobra.Command, args []string) error {
			job.files = append(job.files, args...)
			return job.run(cmd)
		},
	}
	job.addFlags(cmd, from, "configuration")
	flags := cmd.Flags()
	flags.StringArrayVar(&job.manifests, "objects", nil, "manifests of Nodes, Services and EndpointSlices: `file` or folder; - is standard input; may be repeated")
	from.addClusterFlag(cmd, &job.cluster, "read the configuration or objects that are not named from the cluster")
	flags.StringVar(&job.node, "node", "", "name of the node")
	flags.StringVar(&job.announce.Class, "lb-class", "", "spec.loadBalancerClass of the Services to announce, like the agent's flag")
	flags.BoolVar(&job.announce.IgnoreExcludeLB, "ignore-exclude-lb", false, "announce from nodes labelled "+announce.LabelExcludeNode+" too, like the agent's flag")
	flags.BoolVar(&job.showSecrets, "show-secrets", false, "print passwords")
	flags.BoolVar(&job.decisions, "decisions", false, "print the decisions with their reasons as JSON, instead of frr.conf")
	if err := cmd.MarkFlagRequired("node"); err != nil {
		panic(err) // the flag is defined above
	}
	return cmd
}

func (j renderJob) run(cmd *cobra.Command) error {
	if err := j.complete(len(j.manifests), "objects"); err != nil {
		return err
	}
	if onStdin(append(j.files, j.manifests...)...) > 1 {
		return errors.New("the configuration and the objects cannot both be on standard input")
	}
	cfg, err := j.config(cmd)
	if err != nil {
		return err
	}
	s, err := j.objects(cmd, j.manifests, false, kube.ReadAll)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(s.Nodes, func(n *cluster.Node) bool { return n.Name == j.node }) {
		cmd.PrintErrf("%s: no Node %q\n", together(j.manifests), j.node)
		return errInvalid
	}
	warnOverlaps(cmd, together(j.manifests), cfg, s)
	s.Config = cfg
	d := announce.Foresee(s, j.node, j.announce)
	if j.decisions {
		return writeDecisions(cmd.OutOrStdout(), d)
	}
	frr := render.Redacted
	if j.showSecrets {
		frr = render.FRR
	}
	conf, err := frr(d.BGP)
	if err != nil {
		return err
	}
	_, err = verbatim(cmd.OutOrStdout()).Write(conf)
	return err
}

// writeDecisions prints the peers and the decision on each address as JSON.
func writeDecisions(w io.Writer, d announce.Desired) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	err := enc.Encode(struct {
		Peers     []status.Peer     `json:"peers"`
		Decisions []status.Decision `json:"decisions"`
	}{d.Peers, d.Decisions})
	if err != nil {
		return fmt.Errorf("print decisions: %w", err)
	}
	return nil
}
