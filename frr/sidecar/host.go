// SPDX-License-Identifier: Apache-2.0

package sidecar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Host runs FRR's programs.
type Host interface {
	// Start starts a daemon, with the capabilities that FRR's daemons need.
	Start(path string, args ...string) (Process, error)
	// Output runs a program without capabilities and returns what it prints. If the
	// program fails, its standard error is added.
	Output(ctx context.Context, path string, args ...string) (string, error)
}

// A Process is a daemon that was started.
type Process interface {
	// Wait returns when the process has ended, and says how.
	Wait() error
	Signal(sig syscall.Signal) error
}

// capabilities are those that each of FRR's daemons needs. The container has them
// too, with SETUID and SETGID to start the daemons as another user, and KILL to stop
// them.
var capabilities = []uintptr{unix.CAP_NET_BIND_SERVICE, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_SYS_ADMIN}

// vtyGroup is the group whose members may use the vty sockets.
const vtyGroup = "frrvty"

// killGrace is how long a program's descendants may keep its output open after it
// has ended.
const killGrace = time.Second

// A Machine runs FRR's programs on this machine. It is a Host.
type Machine struct {
	stdout     io.Writer
	credential *syscall.Credential // of FRR's user; nil is this process's
}

var _ Host = (*Machine)(nil)

// NewMachine returns a Machine that runs programs as a user; empty is this process's.
// What the daemons print goes to stdout.
func NewMachine(name string, stdout io.Writer) (*Machine, error) {
	m := &Machine{stdout: stdout}
	if name == "" || os.Geteuid() != 0 {
		return m, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("user %s: %w", name, err)
	}
	m.credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	g, err := user.LookupGroup(vtyGroup)
	if err != nil {
		return nil, err
	}
	vty, err := strconv.ParseUint(g.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("group %s: %w", vtyGroup, err)
	}
	m.credential.Groups = []uint32{uint32(vty)}
	return m, nil
}

// Group returns the group whose members may read FRR's files; negative is this
// process's own.
func (m *Machine) Group() int {
	if m.credential == nil {
		return -1
	}
	return int(m.credential.Groups[0])
}

// A process is a child in a process group of its own: a signal to this process's
// group does not reach it, so that the daemons are stopped in order.
type process struct{ cmd *exec.Cmd }

// Start starts a daemon.
func (m *Machine) Start(path string, args ...string) (Process, error) {
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = m.stdout, m.stdout
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: m.credential}
	if m.credential != nil {
		cmd.SysProcAttr.AmbientCaps = capabilities
	}
	cmd.WaitDelay = killGrace
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return process{cmd}, nil
}

func (p process) Wait() error { return p.cmd.Wait() }

func (p process) Signal(sig syscall.Signal) error { return p.cmd.Process.Signal(sig) }

// Output runs a program and returns what it prints.
func (m *Machine) Output(ctx context.Context, path string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = "/"
	// vtysh uses no pager and writes no history here, and Python no bytecode.
	cmd.Env = append(os.Environ(), "VTYSH_PAGER=cat", "VTYSH_HISTFILE=/dev/null", "PYTHONDONTWRITEBYTECODE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: m.credential}
	// frr-reload.py has children of its own.
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = killGrace
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		stdout.WriteString(withoutPAM(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), err
}

// withoutPAM returns a standard error without the line that vtysh prints each time it
// runs as a user that PAM does not know.
func withoutPAM(stderr string) string {
	var b strings.Builder
	for line := range strings.Lines(stderr) {
		if !strings.HasPrefix(line, "vtysh_pam: ") {
			b.WriteString(line)
		}
	}
	return b.String()
}
