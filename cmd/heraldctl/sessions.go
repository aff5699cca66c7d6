// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/status"
)

func sessionsCommand() *cobra.Command {
	var kubeconfig, namespace string
	output := asTable
	cmd := &cobra.Command{
		Use:   "sessions [NODE...]",
		Short: "Show the nodes' BGP sessions",
		Long: `Sessions shows the peers of the nodes, of all if none is named, and how the sessions
with them stand, as the nodes' agents say when they are asked by way of the API server.

As JSON it is a list of the agents' words on each peer, with the node.

Exit status: 0 if they were printed, 2 if an agent could not be asked; what the others
say is printed all the same.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := connect(kubeconfig)
			if err != nil {
				return err
			}
			all, failed := sessionsOf(cmd.Context(), client, namespace, args)
			if output == asJSON {
				err = writeJSON(cmd.OutOrStdout(), all)
			} else {
				err = printSessions(cmd.OutOrStdout(), all, time.Now())
			}
			return cmp.Or(err, failed)
		},
	}
	kubeconfigFlag(cmd, &kubeconfig)
	cmd.Flags().StringVar(&namespace, "namespace", heraldNamespace, "`namespace` that Herald runs in")
	cmd.Flags().VarP(&output, "output", "o", "json or table")
	return cmd
}

// A nodePeer is a peer as a node's agent sees it.
type nodePeer struct {
	Node string `json:"node"`
	status.Peer
}

// A reporter knows what agents say.
type reporter interface {
	Agents(ctx context.Context, namespace string) ([]kube.Agent, error)
	Report(ctx context.Context, a kube.Agent) (status.Report, error)
}

// agentOf returns the agent of a node among those of a namespace.
func agentOf(agents []kube.Agent, node, namespace string) (kube.Agent, error) {
	i := slices.IndexFunc(agents, func(a kube.Agent) bool { return a.Node == node })
	if i < 0 {
		return kube.Agent{}, fmt.Errorf("agent of %s: no pod of it runs in %s", node, namespace)
	}
	return agents[i], nil
}

// sessionsOf returns the peers that the nodes are to have sessions with. An error
// does not keep it from asking the next agent.
func sessionsOf(ctx context.Context, from reporter, namespace string, nodes []string) ([]nodePeer, error) {
	out := []nodePeer{}
	agents, err := from.Agents(ctx, namespace)
	if err != nil {
		return out, err
	}
	for _, n := range nodes {
		_, none := agentOf(agents, n, namespace)
		err = cmp.Or(err, none)
	}
	for _, a := range agents {
		if len(nodes) > 0 && !slices.Contains(nodes, a.Node) {
			continue
		}
		r, failed := from.Report(ctx, a)
		err = cmp.Or(err, failed)
		for _, p := range r.Peers {
			if p.Reason != status.NodeNotSelected {
				out = append(out, nodePeer{a.Node, p})
			}
		}
	}
	return out, err
}

func printSessions(out io.Writer, peers []nodePeer, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tPEER\tADDRESS\tAS\tSTATE\tUPTIME\tSENT\tBFD\tLAST ERROR")
	for _, p := range peers {
		s := p.Session
		state, uptime, last := string(s.State), "-", cmp.Or(s.LastError, "-")
		switch {
		case !p.Wanted:
			state, last = string(p.Reason), cmp.Or(p.Detail, "-")
		case s.Up():
			uptime = now.Sub(s.Since).Round(time.Second).String()
		case state == "":
			state = "Unknown" // FRR has not said anything of it
		}
		as := cmp.Or(p.DynamicASN, fmt.Sprint(p.ASN))
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", p.Node, p.Name, p.ID(), as, state, uptime, s.PrefixesSent, cmp.Or(s.BFD, "-"), last)
	}
	return w.Flush()
}
