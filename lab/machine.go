// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/heraldlb/herald/lab/process"
)

// A Machine is a host of the lab: a network namespace and, where FRR runs, a
// mount namespace.
type Machine struct {
	Name      string // "n1": what people call it; its namespace has the lab's prefix too
	Namespace Namespace
	Dir       string     // its directory, the same path inside and outside the machine
	Addr4     netip.Addr // on its first link, eth0
	Addr6     netip.Addr // likewise
	LinkLocal netip.Addr // likewise; what FRR announces as the next hop of IPv6 routes

	mounts string          // the file that stands for its mount namespace; empty means the host's
	life   context.Context // ends when the lab is taken down
}

// Path returns the path of a file in the machine's directory.
func (m *Machine) Path(elem ...string) string {
	return filepath.Join(append([]string{m.Dir}, elem...)...)
}

// LogFile returns where the output of the machine's program of that name goes.
func (m *Machine) LogFile(name string) string { return m.Path("log", name+".log") }

// enter returns the command line that runs a program inside the machine.
// nsenter(1) replaces itself by the program, so that signals reach it directly.
func (m *Machine) enter(name string, args ...string) []string {
	line := []string{"nsenter", "--net=" + m.Namespace.Path()}
	if m.mounts != "" {
		line = append(line, "--mount="+m.mounts)
	}
	return append(append(line, "--", name), args...)
}

// Command prepares a program that runs inside the machine.
func (m *Machine) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	line := m.enter(name, args...)
	return exec.CommandContext(ctx, line[0], line[1:]...)
}

// Run runs a program inside the machine and returns its standard output.
func (m *Machine) Run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := m.Command(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("run %s on %s: %w: %s", name, m.Name, err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// Start starts a program inside the machine. It runs until it is stopped or
// the lab is taken down. Unless opts say otherwise, its output goes to
// [Machine.LogFile]; opts.Namespace is ignored.
func (m *Machine) Start(opts process.Options) (*process.Process, error) {
	if opts.Name == "" {
		opts.Name = filepath.Base(opts.Path)
	}
	if opts.LogFile == "" {
		opts.LogFile = m.LogFile(opts.Name)
	}
	if err := os.MkdirAll(filepath.Dir(opts.LogFile), 0o755); err != nil {
		return nil, fmt.Errorf("start %s on %s: %w", opts.Name, m.Name, err)
	}
	line := m.enter(opts.Path, opts.Args...)
	opts.Namespace, opts.Path, opts.Args = "", line[0], line[1:]
	p, err := process.Start(m.life, opts)
	if err != nil {
		return nil, fmt.Errorf("on %s: %w", m.Name, err)
	}
	return p, nil
}

// Dial connects from inside the machine. The address must be numeric.
func (m *Machine) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := m.Namespace.Do(func() error {
		var err error
		// With one numeric address the dialer makes its socket on this thread.
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// mountsFile stands for a machine's mount namespace, in the machine's directory.
const mountsFile = "mounts"

// A bind puts a directory of the machine in the place of one of the system.
type bind struct{ from, to string }

// unshareMounts gives the machine a mount namespace in which the binds hold.
// It comes before any network namespace of the lab is made, so as not to hold
// copies of their mounts.
func (m *Machine) unshareMounts(ctx context.Context, binds []bind) error {
	file := m.Path(mountsFile)
	if err := os.WriteFile(file, nil, 0o444); err != nil {
		return fmt.Errorf("make mount namespace of %s: %w", m.Name, err)
	}
	args := append([]string{"--mount=" + file, "--propagation", "private", "sh"}, bindArgs(binds)...)
	out, err := exec.CommandContext(ctx, "unshare", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("make mount namespace of %s: %w: %s", m.Name, err, bytes.TrimSpace(out))
	}
	m.mounts = file
	return nil
}

// bindArgs are the arguments of a shell that makes binds.
func bindArgs(binds []bind) []string {
	const script = `
while [ $# -gt 0 ]; do
	[ -d "$2" ] || mkdir -p "$2"
	mount --rbind "$1" "$2"
	shift 2
done`
	args := []string{"-euc", script, "sh"}
	for _, b := range binds {
		args = append(args, b.from, b.to)
	}
	return args
}
