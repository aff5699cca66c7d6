// SPDX-License-Identifier: Apache-2.0

// Command heraldctl checks and explains Herald's configuration, and what Herald does with it.
// Called kubectl-herald it is a plugin of kubectl.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	name, args := invocation(os.Args)
	os.Exit(run(ctx, name, args, os.Stdin, os.Stdout, os.Stderr))
}
