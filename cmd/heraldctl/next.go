// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/heraldlb/herald/topology"
)

// carriedFlags are the flags that say which cluster is asked, and as whom. Kubectl has them,
// too. A token is not among them: it would be on a screen.
var carriedFlags = []string{
	"kubeconfig", "context", "cluster", "user", "server", "as", "as-group", "as-uid", "as-user-extra", "certificate-authority",
	"client-certificate", "client-key", "insecure-skip-tls-verify", "tls-server-name", "proxy-url", "disable-compression", "request-timeout",
}

// carryOn makes the commands of problems ask the cluster that this command has asked. They call
// the program as the user does.
func carryOn(cmd *cobra.Command, problems []topology.Problem) {
	for i := range problems {
		problems[i].Next = carried(cmd, problems[i].Next)
	}
}

// carried returns a command line, with the flags of this command that matter for it.
func carried(cmd *cobra.Command, line string) string {
	parts := strings.Split(line, " && ")
	for i, part := range parts {
		words := strings.Fields(part)
		switch {
		case len(words) == 0:
		case words[0] == "kubectl":
			flags := given(cmd, carriedFlags, func(string) bool { return true })
			parts[i] = strings.Join(append(append([]string{"kubectl"}, flags...), strings.TrimPrefix(part, "kubectl ")), " ")
		case words[0] == ownName && len(words) > 1:
			verb, _, err := cmd.Root().Find(words[1:2])
			if err != nil {
				continue
			}
			takes := func(name string) bool { return verb.Flag(name) != nil }
			names := slices.Clone(carriedFlags)
			for _, f := range lookFlags {
				names = append(names, f.name)
			}
			if !slices.Contains(words, "-n") {
				names = append(names, "namespace")
			}
			line := cmd.Root().DisplayName() + strings.TrimPrefix(part, ownName)
			parts[i] = strings.Join(append([]string{line}, given(cmd, names, takes)...), " ")
		}
	}
	return strings.Join(parts, " && ")
}

// given returns those flags of names that this command was given and another one takes.
func given(cmd *cobra.Command, names []string, takes func(name string) bool) (out []string) {
	for _, name := range names {
		f := cmd.Flags().Lookup(name)
		if f == nil || !f.Changed || !takes(name) {
			continue
		}
		values := []string{f.Value.String()}
		if all, ok := f.Value.(pflag.SliceValue); ok {
			values = all.GetSlice()
		}
		for _, v := range values {
			out = append(out, "--"+name+"="+topology.Quoted(v))
		}
	}
	return out
}
