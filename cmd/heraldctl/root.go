// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Exit codes.
const (
	exitOK      = 0
	exitInvalid = 1 // the configuration has mistakes, which were printed
	exitChanges = 1 // of diff: addresses change
	exitKept    = 1 // of drain: the node still announces something
	exitBroken  = 1 // of status, why and doctor: something is broken
	exitUnknown = 2 // of status, why and doctor: that could not be told
	exitPart    = 1 // of sysdump: something could not be read
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

// run executes a command line of the program, which the user calls by a name, and returns its
// exit code.
func run(ctx context.Context, name string, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	stdout, stderr = screen{stdout}, screen{stderr}
	root := rootCommand(name)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
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
	case errors.Is(err, errPart):
		return exitPart
	case errors.Is(err, errPrinted):
		return exitMisuse
	}
	fmt.Fprintf(stderr, "%s: %v%s\n", name, err, advice(cmd, err))
	return exitMisuse
}

// advice returns what to do about an error of the API server, in addition to its own words.
func advice(cmd *cobra.Command, err error) string {
	var timeout interface{ Timeout() bool }
	forbidden := apierrors.IsForbidden(err) || strings.Contains(err.Error(), " is forbidden: ") // a text of what was looked at
	switch changes := cmd.Name() == "drain" || cmd.Name() == "undrain"; {
	case forbidden && changes:
		return "; drain and undrain need get and patch of nodes, and with --wait the rights of herald-viewer: docs/heraldctl.md#rights"
	case forbidden && cmd.Name() == "sessions":
		return "; the Role herald-viewer allows it: docs/heraldctl.md#rights. Without it, get peers shows what agents write into objects"
	case forbidden:
		return "; the ClusterRole and the Role herald-viewer allow it: docs/heraldctl.md#rights"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "; --request-timeout sets how long to wait"
	}
	return ""
}

// otherNames are the names of similar commands in other programs.
var otherNames = map[string][]string{
	"allocate": {"assign", "ipam", "simulate"},
	"check":    {"validate", "verify", "lint"},
	"convert":  {"migrate"},
	"diff":     {"compare", "plan"},
	"doctor":   {"diagnose", "preflight", "environment"},
	"drain":    {"cordon", "evacuate"},
	"render":   {"frr", "template", "show"},
	"get":      {"list", "services", "pools", "nodes", "routes"},
	"sessions": {"peers", "peer", "neighbors", "bgp"},
	"status":   {"overview", "problems", "health"},
	"sysdump":  {"bugreport", "bug-report", "support", "collect", "dump", "must-gather"},
	"top":      {"watch", "monitor"},
	"undrain":  {"uncordon"},
	"web":      {"page", "ui", "dashboard", "browse", "open"},
	"why":      {"explain", "inspect", "describe", "trace"},
}

// rootCommand returns the program, which the user calls by a name, with its subcommands, each
// in a file of its name.
func rootCommand(name string) *cobra.Command {
	root := &cobra.Command{
		Use:           ownName,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: name},
		Short:         "Show what works and why not, check configurations, and drain nodes",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.Version = version()
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetUsageTemplate(usageTemplate(root.UsageTemplate()))
	c := addConnection(root)
	root.AddCommand(checkCommand(c), convertCommand(c), renderCommand(c), allocateCommand(c), diffCommand(c), statusCommand(c), whyCommand(c),
		getCommand(c), topCommand(c), sessionsCommand(c), drainCommand(c), undrainCommand(c), sysdumpCommand(c), versionCommand(), webCommand(c), doctorCommand(c))
	for _, cmd := range root.Commands() {
		cmd.SuggestFor = otherNames[cmd.Name()]
	}
	addCompletion(root, c)
	if name != ownName {
		rename(root, name)
	}
	return root
}

// inherited is where a usage lists the flags of all commands.
var inherited = regexp.MustCompile(`(?s)Global Flags:\n.*?\{\{end\}\}`)

// usageTemplate returns a template whose usages of commands do not repeat the flags that all
// have.
func usageTemplate(of string) string {
	return inherited.ReplaceAllString(of, `Flags of kubectl such as --context, --kubeconfig, --as and --request-timeout, and -n for
Herald's namespace: "{{.Root.DisplayName}} --help" lists them.{{end}}`)
}
