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

// A sessionsJob has the flags of heraldctl sessions.
type sessionsJob struct {
	namespace string
	output    output
	watch     bool
	interval  time.Duration
}

func sessionsCommand(of *connection) *cobra.Command {
	var job sessionsJob
	cmd := &cobra.Command{
		Use:   "sessions [NODE...]",
		Short: "Show the nodes' BGP sessions",
		Long: `Sessions shows the BGP peers of the named nodes, or of all nodes, and the states of
their sessions. It asks the nodes' agents through the API server. A user who may not do
that sees with "heraldctl get peers" what the agents write into objects.

LAST ERROR is the reason why a session is not up, with the remedy. It is empty for a
session that is up. With -o wide there are also how often the session went down, its BFD
profile and its protection: a password, or TTL security with the distance in hops.

As JSON or YAML it is a list of peers as the agents report them, with the node.

With --watch it goes on, and prints a session again, with the time, when its state
changes. As JSON or YAML each is then a document of its own. What cannot be asked is
printed to standard error, once.

Exit status: 0 if sessions were printed; 2 if there are none to print, with the reason,
or if an agent could not be asked. Sessions of the other agents are printed even then.`,
		Example: `  heraldctl sessions
  heraldctl sessions n1 -o json
  heraldctl sessions --watch`,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := of.client()
			if err != nil {
				return err
			}
			job.namespace = of.namespace
			if job.watch {
				return job.follow(cmd, client, args)
			}
			all, failed := sessionsOf(cmd.Context(), client, job.namespace, args)
			if len(all) == 0 && job.output.tabular() {
				return failed
			}
			err = job.print(cmd.OutOrStdout(), all, time.Now())
			return cmp.Or(err, failed)
		},
	}
	job.output.addFlags(cmd)
	cmd.Flags().BoolVarP(&job.watch, "watch", "w", false, "go on, and print what changes")
	cmd.Flags().DurationVar(&job.interval, "interval", 2*time.Second, "time between two looks of --watch")
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

// print prints the peers of nodes.
func (j sessionsJob) print(out io.Writer, peers []nodePeer, now time.Time) error {
	return j.output.write(out, peers, func(t table, wide bool) {
		j.output.header(t, sessionColumns(wide)...)
		for _, p := range peers {
			t.row(p.cells(now, wide)...)
		}
	})
}

// sessionColumns returns the names of the columns of a table of sessions.
func sessionColumns(wide bool) []any {
	names := []any{"NODE", "PEER", "ADDRESS", "AS", "STATE", "UPTIME", "SENT", "BFD"}
	if wide {
		names = append(names, "BFD PROFILE", "DROPPED", "PROTECTION")
	}
	return append(names, "LAST ERROR")
}

// state returns the state of the session, or the reason why there is to be none.
func (p nodePeer) state() string {
	switch {
	case !p.Wanted:
		return string(p.Reason)
	case p.Session.State == "":
		return "Unknown" // FRR has not reported it
	}
	return string(p.Session.State)
}

// trouble returns why the session is not up, empty if it is.
func (p nodePeer) trouble() string {
	switch {
	case !p.Wanted:
		return p.Detail
	case p.Session.Up():
		return ""
	}
	return cmp.Or(p.Session.Diagnosis, p.Session.LastError)
}

// cells returns the row of the peer.
func (p nodePeer) cells(now time.Time, wide bool) []any {
	uptime := "-"
	if p.Wanted && p.Session.Up() {
		uptime = now.Sub(p.Session.Since).Round(time.Second).String()
	}
	as := cmp.Or(p.DynamicASN, fmt.Sprint(p.ASN))
	cells := []any{p.Node, p.Name, p.ID(), as, p.state(), uptime, p.Session.PrefixesSent, orNone(p.Session.BFD)}
	if wide {
		var protection []string
		if p.Authenticated {
			protection = append(protection, "password")
		}
		if p.TTLSecurity > 0 {
			protection = append(protection, fmt.Sprintf("TTL security %d", p.TTLSecurity))
		}
		cells = append(cells, orNone(p.BFDProfile), p.Session.Dropped, orNone(strings.Join(protection, ", ")))
	}
	return append(cells, orNone(p.trouble()))
}
