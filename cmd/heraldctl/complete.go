// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/kube"
)

// completeWithin is how long a shell waits for names from a cluster.
const completeWithin = 3 * time.Second

// nodeCommands take names of Nodes as arguments: one (false) or several (true).
var nodeCommands = map[string]bool{"drain": false, "undrain": false, "sessions": true}

// completeFlags lets a shell complete names of a cluster's objects, and the values of
// flags with a fixed set.
func completeFlags(cmd *cobra.Command) {
	words := func(all ...string) cobra.CompletionFunc {
		return cobra.FixedCompletions(all, cobra.ShellCompDirectiveNoFileComp)
	}
	output := []string{string(asTable), string(asJSON)}
	if cmd.Name() == "status" || cmd.Name() == "why" {
		output = viewFormats
	}
	if cmd.Name() == "check" {
		output = []string{string(asText), string(asList), string(asGitHub)}
	}
	for name, complete := range map[string]cobra.CompletionFunc{
		"node":          namesOf(kube.NodeNames),
		"namespace":     namesOf(kube.NamespaceNames),
		"output":        words(output...),
		"format":        words(output...),
		"config-source": words(string(sourceAuto), string(sourceConfigMap), string(sourceResources)),
	} {
		if cmd.Flags().Lookup(name) == nil {
			continue
		}
		if err := cmd.RegisterFlagCompletionFunc(name, complete); err != nil {
			panic(err) // the flag was looked up
		}
	}
	if several, ok := nodeCommands[cmd.Name()]; ok {
		nodes := namesOf(kube.NodeNames)
		cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 && !several {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			names, directive := nodes(cmd, args, begun)
			return slices.DeleteFunc(names, func(n string) bool { return slices.Contains(args, n) }), directive
		}
	}
}

// namesOf returns a function that completes names of a cluster's objects. It completes
// nothing if the cluster does not answer.
func namesOf(read func(context.Context, *kube.Client) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		kubeconfig := ""
		if f := cmd.Flags().Lookup("kubeconfig"); f != nil {
			kubeconfig = f.Value.String()
		}
		client, err := connect(kubeconfig)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx := cmd.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		ctx, cancel := context.WithTimeout(ctx, completeWithin)
		defer cancel()
		names, err := read(ctx, client)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
