// SPDX-License-Identifier: Apache-2.0

// Package daemon has what the main functions of Herald's daemons share: tasks, flags,
// logging and HTTP.
package daemon

import (
	"context"
	"fmt"
	"runtime/debug"

	"golang.org/x/sync/errgroup"
)

// A Task is a part of a daemon that runs as long as the daemon does.
type Task struct {
	Name string
	// Run returns nil when the context is canceled.
	Run func(ctx context.Context) error
}

// Run runs tasks until the context is canceled or one of them fails, which ends
// the others.
func Run(ctx context.Context, tasks ...Task) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, t := range tasks {
		g.Go(func() error {
			if err := t.Run(ctx); err != nil {
				return fmt.Errorf("%s: %w", t.Name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// version is set by the linker.
var version string

// Version returns the version of this program: that of the release, or of the commit
// from which it was built.
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version
}
