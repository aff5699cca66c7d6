// SPDX-License-Identifier: Apache-2.0

package main

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

// A host starts FRR's programs.
type host interface {
	// start starts a daemon, with the capabilities that FRR's daemons need.
	start(path string, args ...string) (process, error)
	// output runs a program without capabilities and returns what it prints; its
	// complaints too if it does not succeed.
	output(ctx context.Context, path string, args ...string) (string, error)
	// group is the one whose members may read FRR's files; negative is this
	// process's own.
	group() int
}

// A process is a daemon that was started.
type process interface {
	// wait returns when the process has ended, and says how.
	wait() error
	signal(sig syscall.Signal) error
}

// capabilities are those that each of FRR's daemons asks for. The container needs
// these, SETUID and SETGID to give them to the daemons as another user, and KILL to
// end these.
var capabilities = []uintptr{unix.CAP_NET_BIND_SERVICE, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_SYS_ADMIN}

// vtyGroup is the group whose members reach the vty sockets.
const vtyGroup = "frrvty"

// killGrace is how long a program's descendants may hold its output after its end.
const killGrace = time.Second

// A realHost starts them on the machine.
type realHost struct {
	stdout     io.Writer
	credential *syscall.Credential // of FRR; nil means this process's
}

// newHost returns a host that runs programs as a user; empty is this one.
func newHost(name string, stdout io.Writer) (*realHost, error) {
	h := &realHost{stdout: stdout}
	if name == "" || os.Geteuid() != 0 {
		return h, nil
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
	h.credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	g, err := user.LookupGroup(vtyGroup)
	if err != nil {
		return nil, err
	}
	vty, err := strconv.ParseUint(g.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("group %s: %w", vtyGroup, err)
	}
	h.credential.Groups = []uint32{uint32(vty)}
	return h, nil
}

func (h *realHost) group() int {
	if h.credential == nil {
		return -1
	}
	return int(h.credential.Groups[0])
}

// A realProcess is a child of this one, in a process group of its own, so that a
// signal to ours does not reach it: the order in which FRR ends is ours to choose.
type realProcess struct{ cmd *exec.Cmd }

func (h *realHost) start(path string, args ...string) (process, error) {
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = h.stdout, h.stdout
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: h.credential}
	if h.credential != nil {
		cmd.SysProcAttr.AmbientCaps = capabilities
	}
	cmd.WaitDelay = killGrace
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return realProcess{cmd}, nil
}

func (p realProcess) wait() error { return p.cmd.Wait() }

func (p realProcess) signal(sig syscall.Signal) error { return p.cmd.Process.Signal(sig) }

func (h *realHost) output(ctx context.Context, path string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = "/"
	// vtysh neither pages nor keeps a history here.
	cmd.Env = append(os.Environ(), "VTYSH_PAGER=cat", "VTYSH_HISTFILE=/dev/null", "PYTHONDONTWRITEBYTECODE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: h.credential}
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
		stdout.WriteString(complaints(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), err
}

// complaints returns what a program wrote to its standard error, without what
// vtysh says each time it runs as a user whom PAM does not know.
func complaints(stderr string) string {
	var b strings.Builder
	for line := range strings.Lines(stderr) {
		if !strings.HasPrefix(line, "vtysh_pam: ") {
			b.WriteString(line)
		}
	}
	return b.String()
}
