// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/heraldlb/herald/lab/process"
)

// The containers and volumes of the agent's pod that the lab knows by name.
const (
	sidecarContainer = "frr"
	agentContainer   = "agent"
	confVolume       = "frr-conf"
	runVolume        = "frr-run"
)

// A Sidecar is herald-frr on a node, run as the frr container of the agent's pod:
// with its volumes, users and capabilities.
type Sidecar struct {
	Daemon

	node    *Node
	pod     corev1.PodSpec
	configs map[string]map[string]string
	vty     int      // the group of the vty sockets, the pod's fsGroup
	roots   []string // the file systems with FRR that have the node's folders
}

// newSidecar makes the node's folders what Kubernetes makes the pod's volumes.
func newSidecar(n *Node) (*Sidecar, error) {
	vty, err := groupID(n.FRR.root, "frrvty")
	if err != nil {
		return nil, fmt.Errorf("prepare herald-frr on %s: %w", n.Name, err)
	}
	bin, err := heraldBin("")
	if err != nil {
		return nil, fmt.Errorf("prepare herald-frr on %s: %w", n.Name, err)
	}
	pods, err := readPods()
	if err != nil {
		return nil, fmt.Errorf("prepare herald-frr on %s: %w", n.Name, err)
	}
	s := &Sidecar{node: n, pod: pods.Agent, configs: pods.configs, vty: vty, roots: []string{n.FRR.root}}
	s.Daemon = Daemon{
		Name:   "frr-" + n.Name,
		client: n.httpClient(),
		start:  func() (*process.Process, error) { return s.launch(filepath.Join(cmp.Or(s.Bin, bin), "herald-frr")) },
	}
	if s.url, err = containerURL(&s.pod, sidecarContainer, n.Addr4); err != nil {
		return nil, fmt.Errorf("prepare herald-frr on %s: %w", n.Name, err)
	}
	return s, s.Empty()
}

// volumes returns the folders of the pod's volumes by their names.
func (s *Sidecar) volumes() map[string]string {
	dirs := make(map[string]string)
	for _, v := range s.pod.Volumes {
		dirs[v.Name] = s.node.Path("volumes", v.Name)
	}
	dirs[confVolume], dirs[runVolume] = s.node.FRR.EtcDir, s.node.FRR.RunDir
	return dirs
}

// Empty makes the pod's volumes new ones, as when the pod is deleted and another
// takes its place.
func (s *Sidecar) Empty() error {
	dirs := s.volumes()
	for _, v := range s.pod.Volumes {
		var err error
		switch {
		case v.EmptyDir != nil:
			err = emptied(dirs[v.Name], s.vty)
		case v.ConfigMap != nil:
			err = projected(dirs[v.Name], s.vty, s.configs[v.ConfigMap.Name])
		}
		if err != nil {
			return fmt.Errorf("prepare herald-frr on %s: %w", s.node.Name, err)
		}
	}
	return nil
}

// container returns how a container of the node's pod is run.
func (s *Sidecar) container(name string) (containerOptions, error) {
	return s.instance().container(&s.pod, name, s.volumes())
}

// instance is the node's pod. The group that FRR has given its sockets to has another
// number in each distribution; the manifest's is the one in FRR's image.
func (s *Sidecar) instance() instance {
	in := s.node.instance()
	in.groups = []int{s.vty}
	return in
}

// instance is the agent's pod on the node.
func (n *Node) instance() instance {
	return instance{pod: AgentPod(n), node: n.Name, addr: n.Addr4}
}

// launch starts herald-frr. It is bound into FRR's file system where that is not this
// one, as other labs use the same.
func (s *Sidecar) launch(program string) (*process.Process, error) {
	opts, err := s.container(sidecarContainer)
	if err != nil {
		return nil, err
	}
	opts.Args = append(append(opts.Args, "--log-level=debug"), s.Args...)
	if s.Bin != "" {
		if opts.Args, err = supported(program, opts.Args); err != nil {
			return nil, err
		}
	}
	opts.Root = s.node.FRR.root
	if opts.Root != "/" {
		const inside = "/usr/local/bin/herald-frr"
		place, err := os.OpenFile(filepath.Join(opts.Root, inside), os.O_CREATE|os.O_RDONLY, 0o755)
		if err != nil {
			return nil, err
		}
		place.Close()
		opts.Mounts = append(opts.Mounts, containerMount{From: program, To: inside, ReadOnly: true})
		program = inside
	}
	opts.Name, opts.Path = s.Name, program
	opts.Env = append(opts.Env, "FRR_LOGGING_LEVEL=informational")
	return s.node.startContainer(opts)
}

// Ready waits until herald-frr says that it is ready.
func (s *Sidecar) Ready(ctx context.Context) error {
	err := process.PollWhile(ctx, s.Process(), func() error {
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

// ChangeVersion has the pod run another version of FRR from its next start on, as when
// its image is changed. Neither container may run; the volumes are new ones.
func (s *Sidecar) ChangeVersion(ctx context.Context, v Version) error {
	f := s.node.FRR
	vty, err := groupID(v.Root, "frrvty")
	if err != nil {
		return fmt.Errorf("change FRR on %s: %w", s.node.Name, err)
	}
	if v.Root != "/" && !slices.Contains(s.roots, v.Root) {
		if _, err := s.node.Run(ctx, "sh", bindArgs(f.binds(v.Root))...); err != nil {
			return fmt.Errorf("change FRR on %s: %w", s.node.Name, err)
		}
		s.roots = append(s.roots, v.Root)
	}
	f.root, s.vty = v.Root, vty
	return s.Empty()
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
