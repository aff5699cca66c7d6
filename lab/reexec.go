// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/lab/process"
)

// helperVariable names the helper that a process is to be.
const helperVariable = "HERALD_LAB_HELPER"

// helpers are the programs of the lab's own. They run as children of the
// program that uses the lab because a Go program cannot move to another network
// namespace as a whole: GoBGP's goroutines make their sockets on any thread.
var helpers = map[string]func(ctx context.Context, args []string) error{
	"backend":   serveBackend,
	"gobgp":     serveGoBGP,
	"container": becomeContainer,
}

// Reexec turns a process that the lab started as a helper into that helper,
// and does not return. In any other process it does nothing. TestMain and main
// call it first.
func Reexec() {
	name, ok := os.LookupEnv(helperVariable)
	if !ok {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	run, ok := helpers[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "%s=%s: no such helper\n", helperVariable, name)
		os.Exit(2)
	}
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// startHelper starts a helper inside a machine. Its log has the instance's name.
func (m *Machine) startHelper(helper, instance string, args ...string) (*process.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", helper, err)
	}
	return m.Start(process.Options{
		Name: instance,
		Path: self,
		Args: args,
		// A listener of Multipath TCP, which is Go's default, takes no TCP MD5
		// password.
		Env: []string{helperVariable + "=" + helper, "GODEBUG=multipathtcp=0"},
	})
}
