// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// What the program may be called. Kubectl runs "kubectl-herald" as its command "herald", and
// "kubectl_complete-herald" to complete the arguments of that.
const (
	ownName      = "heraldctl"
	pluginName   = "kubectl herald"
	pluginFile   = "kubectl-herald"
	completeFile = "kubectl_complete-herald"
)

// invocation returns what the user calls the program, and the arguments.
func invocation(argv []string) (name string, args []string) {
	name, args = ownName, argv[1:]
	switch strings.TrimSuffix(filepath.Base(argv[0]), ".exe") {
	case pluginFile:
		name = pluginName
	case completeFile:
		name, args = pluginName, append([]string{cobra.ShellCompRequestCmd}, args...)
	}
	return name, args
}

// rename has the help of a command, and of those below it, call the program by a name.
func rename(cmd *cobra.Command, name string) {
	cmd.Long = strings.ReplaceAll(cmd.Long, ownName, name)
	cmd.Example = strings.ReplaceAll(cmd.Example, ownName, name)
	for _, c := range cmd.Commands() {
		rename(c, name)
	}
}
