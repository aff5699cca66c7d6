// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitOK      = 0
	exitInvalid = 1 // the configuration has mistakes, which were printed
	exitChanges = 1 // of diff: addresses change
	exitKept    = 1 // of drain: the node still announces something
	exitBroken  = 1 // of status and why: something is broken
	exitUnknown = 2 // of status and why: that could not be told
	exitMisuse  = 2 // the command could not do its work
)

// errInvalid is the error of a command that has printed the mistakes of a
// configuration.
var errInvalid = errors.New("invalid configuration")

// errChanges is the error of diff after it has printed that addresses change.
var errChanges = errors.New("addresses change")

// errPrinted is the error of diff after it has printed mistakes.
var errPrinted = errors.New("there are mistakes")

// errOneStdin is the error of a command that would have to read standard input twice.
var errOneStdin = errors.New("only one file can be on standard input")

// run executes a command line and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	stdout, stderr = screen{stdout}, screen{stderr}
	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errInvalid):
		return exitInvalid
	case errors.Is(err, errChanges):
		return exitChanges
	case errors.Is(err, errKept):
		return exitKept
	case errors.Is(err, errBroken):
		return exitBroken
	case errors.Is(err, errUnknown):
		return exitUnknown
	case errors.Is(err, errPrinted):
		return exitMisuse
	}
	fmt.Fprintf(stderr, "heraldctl: %v\n", err)
	return exitMisuse
}

// otherNames are the names of similar commands in other programs.
var otherNames = map[string][]string{
	"allocate": {"assign", "ipam", "simulate"},
	"check":    {"validate", "verify", "lint"},
	"convert":  {"migrate"},
	"diff":     {"compare", "plan"},
	"drain":    {"cordon", "evacuate"},
	"render":   {"frr", "template", "show"},
	"sessions": {"peers", "peer", "neighbors", "bgp", "get"},
	"status":   {"overview", "problems", "doctor", "top"},
	"undrain":  {"uncordon"},
	"web":      {"page", "ui", "dashboard", "browse", "open"},
	"why":      {"explain", "inspect", "describe", "trace"},
}

// rootCommand returns heraldctl with its subcommands, each in a file of its
// name.
func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "heraldctl",
		Short:         "Show what works and why not, check configurations, and drain nodes",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.Version = version()
	root.SetVersionTemplate("{{.Version}}\n")
	root.AddCommand(checkCommand(), convertCommand(), renderCommand(), allocateCommand(), diffCommand(), statusCommand(), whyCommand(), sessionsCommand(), drainCommand(), undrainCommand(), versionCommand(), webCommand())
	for _, cmd := range root.Commands() {
		cmd.SuggestFor = otherNames[cmd.Name()]
		completeFlags(cmd)
	}
	return root
}
