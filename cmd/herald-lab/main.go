// SPDX-License-Identifier: Apache-2.0

// Command herald-lab runs Herald on real kernels, FRR, GoBGP and Kubernetes in
// network namespaces of this host.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/lab"
)

func main() {
	lab.Reexec()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:           "herald-lab",
		Short:         "Run Herald on real kernels, FRR, GoBGP and Kubernetes",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(upCommand(), runCommand(), downCommand(), statusCommand(), demoCommand(), benchCommand(), traceCommand(), soakCommand())
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if !errors.Is(err, context.Canceled) {
		fmt.Fprintf(stderr, "herald-lab: %v\n", err)
	}
	return 1
}
