// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// sidecarPort is where herald-frr serves its health and metrics.
const sidecarPort = 7473

// Capabilities of the containers of the agent's pod; a test compares them with the
// manifest.
var (
	AgentCapabilities   = []string{"net_raw"}
	SidecarCapabilities = []string{"kill", "net_admin", "net_bind_service", "net_raw", "setgid", "setuid", "sys_admin"}
)

// A Sidecar is herald-frr on a node, run as the frr container of the agent's pod:
// with its volumes, users and capabilities.
type Sidecar struct {
	Daemon

	node *Node
	args []string
	vty  int // the group of the vty sockets, the pod's fsGroup
}

// newSidecar makes the node's folders what Kubernetes makes the pod's volumes:
// empty, and open to the pod's group.
func newSidecar(n *Node, args []string) (*Sidecar, error) {
	vty, err := groupID(n.FRR.root, "frrvty")
	if err != nil {
		return nil, fmt.Errorf("prepare herald-frr on %s: %w", n.Name, err)
	}
	bin, err := heraldBin("")
	if err != nil {
		return nil, fmt.Errorf("prepare herald-frr on %s: %w", n.Name, err)
	}
	s := &Sidecar{node: n, args: args, vty: vty}
	s.Daemon = Daemon{
		Name:   "frr-" + n.Name,
		url:    fmt.Sprintf("http://127.0.0.1:%d", sidecarPort),
		client: n.httpClient(),
		start:  func() (*Process, error) { return s.launch(filepath.Join(cmp.Or(s.Bin, bin), "herald-frr")) },
	}
	return s, s.Empty()
}

// Empty makes the pod's volumes new ones, as when the pod is deleted and another
// takes its place.
func (s *Sidecar) Empty() error {
	for _, dir := range []string{s.node.FRR.EtcDir, s.node.FRR.RunDir} {
		files, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		errs := []error{os.Chown(dir, 0, s.vty), unix.Chmod(dir, unix.S_ISGID|0o775)}
		for _, f := range files {
			errs = append(errs, os.Remove(filepath.Join(dir, f.Name())))
		}
		if err := errors.Join(errs...); err != nil {
			return fmt.Errorf("prepare herald-frr on %s: %w", s.node.Name, err)
		}
	}
	return nil
}

// launch starts herald-frr. FRR's file system, if it is another than this one, is
// given the program.
func (s *Sidecar) launch(program string) (*Process, error) {
	args := append([]string{"--log-level=debug", fmt.Sprintf("--port=%d", sidecarPort)}, s.args...)
	if s.Bin != "" {
		var err error
		if args, err = supported(program, args); err != nil {
			return nil, err
		}
	}
	root := s.node.FRR.root
	if root != "/" {
		if err := copyProgram(program, filepath.Join(root, "usr/local/bin/herald-frr")); err != nil {
			return nil, err
		}
		program = "/usr/local/bin/herald-frr"
	}
	return s.node.startContainer(containerOptions{
		ProcessOptions: ProcessOptions{
			Name: s.Name,
			Path: program,
			Args: args,
			Env:  []string{"FRR_LOGGING_LEVEL=informational"},
		},
		Root:         root,
		Capabilities: SidecarCapabilities,
		Groups:       []int{s.vty},
		Scratch:      []string{"/var/tmp"},
	})
}

// copyProgram replaces a program; one that runs stays as it is for whom it runs.
func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	tmp, err := os.CreateTemp(filepath.Dir(to), ".program-*")
	if err != nil {
		return err
	}
	_, err = io.Copy(tmp, in)
	if err := errors.Join(err, tmp.Chmod(0o755), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), to)
}

// Ready waits until herald-frr says that it is ready.
func (s *Sidecar) Ready(ctx context.Context) error {
	err := pollProcess(ctx, s.Process(), func() error {
		_, err := s.Get(ctx, "/readyz")
		return err
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", s.Name, err)
	}
	return nil
}

// Signal sends a signal to one of FRR's daemons.
func (s *Sidecar) Signal(daemon string, sig unix.Signal) error {
	procs, err := s.node.Namespace.processes()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(procs, func(p running) bool { return p.name == daemon })
	if i < 0 {
		return fmt.Errorf("signal %s on %s: it does not run", daemon, s.node.Name)
	}
	return unix.Kill(procs[i].pid, sig)
}

// PID returns the process number of one of FRR's daemons; 0 if it does not run.
func (s *Sidecar) PID(daemon string) int {
	procs, err := s.node.Namespace.processes()
	if err != nil {
		return 0
	}
	for _, p := range procs {
		if p.name == daemon {
			return p.pid
		}
	}
	return 0
}

// Users returns who runs each of FRR's daemons, and with which capabilities:
// "103 0000000000203400".
func (s *Sidecar) Users() (map[string]string, error) {
	users := make(map[string]string)
	for _, d := range s.node.FRR.Daemons() {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID(d)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var uid, caps string
		for line := range strings.Lines(string(status)) {
			f := strings.Fields(line)
			switch {
			case len(f) > 1 && f[0] == "Uid:":
				uid = f[1]
			case len(f) > 1 && f[0] == "CapPrm:":
				caps = f[1]
			}
		}
		users[d] = uid + " " + caps
	}
	return users, nil
}
