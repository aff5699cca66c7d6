// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/topology"
)

// completeWithin is how long a shell waits for names from a cluster.
const completeWithin = 3 * time.Second

// A completer completes names for the commands of a connection.
type completer struct{ *connection }

// addCompletion lets a shell complete names of a cluster's objects, and the values of flags
// with a fixed set.
func addCompletion(root *cobra.Command, c *connection) {
	from := completer{c}
	nodes := from.names(kube.NodeNames)
	services, pools, peers := from.known(serviceNames), from.known(poolNames), from.known(peerNames)
	register := func(cmd *cobra.Command, flag string, complete cobra.CompletionFunc) {
		if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
			panic(err) // the flag is there, and registered once
		}
	}
	register(root, "namespace", from.names(kube.NamespaceNames))
	register(root, "context", from.configured(func(k clientcmdapi.Config) []string { return slices.Sorted(maps.Keys(k.Contexts)) }))
	register(root, "cluster", from.configured(func(k clientcmdapi.Config) []string { return slices.Sorted(maps.Keys(k.Clusters)) }))
	register(root, "user", from.configured(func(k clientcmdapi.Config) []string { return slices.Sorted(maps.Keys(k.AuthInfos)) }))
	flags := map[string]cobra.CompletionFunc{
		"node": nodes, "pool": pools, "peer": peers,
		"config-source": words(string(sourceAuto), string(sourceConfigMap), string(sourceResources)),
		"output":        words(viewFormats...),
		"format":        words(reportFormats...),
	}
	arguments := map[string]cobra.CompletionFunc{
		"drain": atMostOne(nodes), "undrain": atMostOne(nodes), "sessions": nodes,
		"services": services, "pools": pools, "nodes": nodes, "peers": peers,
		"why": atMostOne(from.known(subjects)),
	}
	var add func(*cobra.Command)
	add = func(cmd *cobra.Command) {
		for name, complete := range flags {
			switch f := cmd.Flags().Lookup(name); {
			case f == nil, f.Value.Type() == "string" && name == "output": // a file
			case name == "output" && cmd.Flags().Lookup("format") != nil:
				register(cmd, name, words(reportFormats...))
			default:
				register(cmd, name, complete)
			}
		}
		if complete := arguments[cmd.Name()]; complete != nil {
			cmd.ValidArgsFunction = complete
		}
		for _, below := range cmd.Commands() {
			add(below)
		}
	}
	for _, cmd := range root.Commands() {
		add(cmd)
	}
}

// words completes a fixed set.
func words(all ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(all, cobra.ShellCompDirectiveNoFileComp)
}

// atMostOne completes one argument alone.
func atMostOne(complete cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, begun)
	}
}

// names completes names that a cluster has, and none if it does not answer. It leaves out
// those that are given already.
func (c completer) names(read func(context.Context, *kube.Client) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		client, err := c.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx := cmd.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		ctx, cancel := context.WithTimeout(ctx, completeWithin)
		defer cancel()
		all, err := read(ctx, client)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return slices.DeleteFunc(all, func(n string) bool { return slices.Contains(args, n) || !strings.HasPrefix(n, begun) }), cobra.ShellCompDirectiveNoFileComp
	}
}

// known completes names of what a Topology knows. No agent is asked.
func (c completer) known(of func(topology.Topology) []string) cobra.CompletionFunc {
	return c.names(func(ctx context.Context, client *kube.Client) ([]string, error) {
		return of(topology.Build(kube.Look(ctx, client, kube.LookOptions{Namespace: c.namespace}))), nil
	})
}

// configured completes names that the kubeconfig has.
func (c completer) configured(of func(clientcmdapi.Config) []string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		known, err := c.kubectl.ToRawKubeConfigLoader().RawConfig()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return of(known), cobra.ShellCompDirectiveNoFileComp
	}
}

func serviceNames(t topology.Topology) (out []string) {
	for _, s := range t.Services {
		out = append(out, s.Name)
	}
	return out
}

func poolNames(t topology.Topology) (out []string) {
	for _, p := range t.Pools {
		out = append(out, p.Name)
	}
	return out
}

func peerNames(t topology.Topology) (out []string) {
	for _, p := range t.Peers {
		out = append(out, p.Name)
	}
	return out
}

// subjects returns what why can be asked about.
func subjects(t topology.Topology) []string {
	out := serviceNames(t)
	shared := map[netip.Addr]bool{}
	for _, s := range t.Services {
		for _, a := range s.Addresses {
			if !shared[a.Addr] {
				out = append(out, a.Addr.String())
			}
			shared[a.Addr] = true
		}
	}
	for _, n := range t.Nodes {
		out = append(out, topology.SubjectNode+n.Name)
	}
	for _, name := range peerNames(t) {
		out = append(out, topology.SubjectPeer+name)
	}
	for _, name := range poolNames(t) {
		out = append(out, topology.SubjectPool+name)
	}
	return out
}
