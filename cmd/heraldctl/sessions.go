// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
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
		Long: `Sessions shows the BGP peers of the named nodes, or of all nodes, and the states of
their sessions. It asks the nodes' agents through the API server.

LAST ERROR is the reason why a session is not up, with the remedy. It is empty for a
session that is up.

As JSON it is a list of peers as the agents report them, with the node.

Exit status: 0 if sessions were printed; 2 if there are none to print, with the reason,
or if an agent could not be asked. Sessions of the other agents are printed even then.`,
		Example: `  heraldctl sessions
  heraldctl sessions n1 -o json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := connect(kubeconfig)
			if err != nil {
				return err
			}
			all, failed := sessionsOf(cmd.Context(), client, namespace, args)
			if len(all) == 0 && output == asTable {
				return failed
			}
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

// A reporter asks agents for their reports.
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

// An absenceReporter finds agents that do not run, too.
type absenceReporter interface {
	reporter
	AbsentAgents(ctx context.Context, namespace string) ([]string, error)
}

// sessionsOf returns the peers that the nodes should have sessions with, and an error if
// there are none. After an error it asks the remaining agents.
func sessionsOf(ctx context.Context, from absenceReporter, namespace string, nodes []string) ([]nodePeer, error) {
	out := []nodePeer{}
	agents, err := from.Agents(ctx, namespace)
	if err != nil {
		return out, err
	}
	if len(agents) == 0 {
		return out, noAgents(ctx, from, namespace)
	}
	for _, n := range nodes {
		_, none := agentOf(agents, n, namespace)
		err = cmp.Or(err, none)
	}
	var silent []status.Report // of agents with nothing to show
	for _, a := range agents {
		if len(nodes) > 0 && !slices.Contains(nodes, a.Node) {
			continue
		}
		r, failed := from.Report(ctx, a)
		if err = cmp.Or(err, failed); failed != nil {
			continue
		}
		before := len(out)
		for _, p := range r.Peers {
			if p.Reason != status.NodeNotSelected {
				out = append(out, nodePeer{a.Node, p})
			}
		}
		if len(out) == before {
			silent = append(silent, r)
		}
	}
	if len(out) == 0 && err == nil {
		err = noSessions(silent)
	}
	return out, err
}

// noAgents returns an error that says why no agent can be asked.
func noAgents(ctx context.Context, from absenceReporter, namespace string) error {
	absent, err := from.AbsentAgents(ctx, namespace)
	switch {
	case err != nil:
		return err
	case len(absent) == 0:
		return fmt.Errorf("there is no agent pod in namespace %s: is Herald installed in another one (--namespace)?", namespace)
	}
	return fmt.Errorf("no agent pod runs in namespace %s: %s", namespace, clipped(absent, "; "))
}

// noSessions returns an error that says why the agents' reports have no peers.
func noSessions(reports []status.Report) error {
	var nodes, peers []string
	for _, r := range reports {
		switch {
		case !r.Synced:
			return fmt.Errorf("agent of %s: it has not read the cluster yet", r.Node)
		case !r.Config.Loaded:
			return fmt.Errorf("agent of %s: no configuration is in force: %s", r.Node, cmp.Or(r.Config.Error, "there is none"))
		}
		nodes = append(nodes, r.Node)
		for _, p := range r.Peers {
			if !slices.Contains(peers, p.Name) {
				peers = append(peers, p.Name)
			}
		}
	}
	if len(peers) == 0 {
		return errors.New("no BGP peers are configured: there is no BGPPeer in force, and no peers in the ConfigMap")
	}
	return fmt.Errorf("no peer selects a node (%s): the nodeSelectors of %s match none of %s",
		status.NodeNotSelected, clipped(peers, ", "), clipped(nodes, ", "))
}

// clippedAt is how many items of a list are named.
const clippedAt = 5

// clipped joins texts. It leaves out the last of many, and says how many.
func clipped(all []string, separator string) string {
	if len(all) <= clippedAt {
		return strings.Join(all, separator)
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:clippedAt], separator), len(all)-clippedAt)
}

func printSessions(out io.Writer, peers []nodePeer, now time.Time) error {
	t := newTable(out)
	t.row("NODE", "PEER", "ADDRESS", "AS", "STATE", "UPTIME", "SENT", "BFD", "LAST ERROR")
	for _, p := range peers {
		s := p.Session
		state, uptime, last := string(s.State), "-", cmp.Or(s.Diagnosis, s.LastError, "-")
		switch {
		case !p.Wanted:
			state, last = string(p.Reason), cmp.Or(p.Detail, "-")
		case s.Up():
			uptime, last = now.Sub(s.Since).Round(time.Second).String(), "-"
		case state == "":
			state = "Unknown" // FRR has not reported it
		}
		as := cmp.Or(p.DynamicASN, fmt.Sprint(p.ASN))
		t.row(p.Node, p.Name, p.ID(), as, state, uptime, s.PrefixesSent, cmp.Or(s.BFD, "-"), last)
	}
	return t.flush()
}
