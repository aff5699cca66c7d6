// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/reconcile"
)

// Where Herald lives in a cluster: MetalLB's places, so that a ConfigMap
// written for MetalLB applies as it is.
const (
	HeraldNamespace = "metallb-system"
	HeraldConfigMap = "config"
	HeraldConfigKey = "config"
)

// StackOptions says what a Stack consists of. The zero value is three nodes
// with one controller, and an agent on each node.
type StackOptions struct {
	Network     Options  // optional: the topology
	Bare        bool     // optional: everything but Herald
	Controllers int      // optional: 0 means 1
	Bin         string   // optional: where Herald's binaries are; empty means bin in or above the working directory
	Args        []string // optional: more arguments for controllers and agents
	Verify      bool     // optional: agents make all decisions twice, and Down fails if they have found a difference
	Manifests   string   // optional: Herald's namespace and RBAC; empty means deploy beside Bin's parent
	Gate        bool     // optional: Herald's containers reach the API server through a controlplane.Gate
}

// A Stack is a whole lab: a network, a Kubernetes control plane that its nodes
// reach, kube-proxy on each node, and Herald.
type Stack struct {
	*Topology
	Cluster     *controlplane.Cluster
	Controllers []*Daemon
	Agents      []*Daemon // in the order of the nodes

	opts StackOptions
	pods *Pods
}

// UpStack builds a Stack and returns when all of it runs. What it made until an
// error it removes again.
func UpStack(ctx context.Context, opts StackOptions) (_ *Stack, err error) {
	opts.Controllers = cmp.Or(opts.Controllers, 1)
	if !opts.Bare {
		if opts.Bin, err = heraldBin(opts.Bin); err != nil {
			return nil, fmt.Errorf("start stack: %w", err)
		}
		opts.Manifests = cmp.Or(opts.Manifests, filepath.Join(opts.Bin, "../deploy"))
	}
	s := &Stack{opts: opts}
	if !opts.Bare {
		if s.pods, err = ReadPods(opts.Manifests); err != nil {
			return nil, fmt.Errorf("start stack: %w", err)
		}
	}
	if s.Topology, err = Up(ctx, opts.Network); err != nil {
		return nil, err
	}
	if err := s.build(ctx); err != nil {
		return nil, fmt.Errorf("start stack: %w", errors.Join(err, s.Down(ctx)))
	}
	return s, nil
}

func (s *Stack) build(ctx context.Context) error {
	dir := filepath.Join(s.Dir, "kube")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	var nodes []controlplane.Node
	for _, n := range s.Nodes {
		nodes = append(nodes, controlplane.Node{
			Name:      n.Name,
			Addresses: []netip.Addr{n.Addr4, n.Addr6},
			PodCIDRs:  []netip.Prefix{podRange(n.Pod4, 24), podRange(n.Pod6, 64)},
		})
	}
	var err error
	s.Cluster, err = controlplane.Start(ctx, controlplane.Options{
		Dir:        dir,
		ListenAddr: s.Management.Addr(),
		Nodes:      nodes,
		DualStack:  true,
		Gate:       s.opts.Gate,
	})
	if err != nil {
		return err
	}
	if err := s.Cluster.CreateNamespace(ctx, HeraldNamespace); err != nil {
		return err
	}
	var g errgroup.Group
	for _, n := range s.Nodes {
		g.Go(func() error {
			_, err := s.Cluster.StartKubeProxy(ctx, n.Name, n.Namespace.Name)
			return err
		})
	}
	if !s.opts.Bare {
		g.Go(func() error { return s.startHerald(ctx) })
	}
	return g.Wait()
}

func podRange(a netip.Addr, bits int) netip.Prefix {
	return netip.PrefixFrom(a, bits).Masked()
}

// startHerald applies Herald's manifests and starts its daemons. They wait for
// their configuration by themselves.
func (s *Stack) startHerald(ctx context.Context) error {
	// All but the kustomization, that is, which is no plural.
	definitions, err := filepath.Glob(filepath.Join(s.opts.Manifests, "crds", "*s.yaml"))
	if err != nil {
		return fmt.Errorf("find Herald's manifests: %w", err)
	}
	manifests := []string{filepath.Join(s.opts.Manifests, "namespace.yaml"), filepath.Join(s.opts.Manifests, "rbac.yaml")}
	for _, name := range append(definitions, manifests...) {
		manifest, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("read Herald's manifests: %w", err)
		}
		if err := s.Cluster.Apply(ctx, string(manifest)); err != nil {
			return err
		}
	}
	if err := s.daemons(); err != nil {
		return err
	}
	for _, c := range s.Controllers {
		if err := c.Start(); err != nil {
			return err
		}
	}
	if err := s.mountSecret(ctx); err != nil {
		return err
	}
	for _, n := range s.Nodes {
		if err := s.createPod(ctx, n); err != nil {
			return err
		}
		if err := s.Agent(n).Start(); err != nil {
			return err
		}
	}
	return nil
}

// daemons makes Herald's daemons, which do not run yet.
func (s *Stack) daemons() error {
	for i := range s.opts.Controllers {
		c, err := s.newController(i)
		if err != nil {
			return err
		}
		s.Controllers = append(s.Controllers, c)
	}
	for _, n := range s.Nodes {
		a, err := s.newAgent(n)
		if err != nil {
			return err
		}
		s.Agents = append(s.Agents, a)
	}
	return nil
}

// LogFile is where the output of one of Herald's daemons goes, "controller-0"
// or "agent-n1".
func (s *Stack) LogFile(daemon string) string { return filepath.Join(s.Dir, daemon+".log") }

// Configure replaces Herald's configuration, the document in its ConfigMap.
func (s *Stack) Configure(ctx context.Context, document string) error {
	return s.Cluster.ApplyConfigMap(ctx, HeraldNamespace, HeraldConfigMap, map[string]string{HeraldConfigKey: document})
}

// Expose makes a Service with a ready backend on each of the nodes; no nodes
// mean all.
func (s *Stack) Expose(ctx context.Context, opts controlplane.ServiceOptions, nodes ...*Node) (*corev1.Service, error) {
	if err := s.SetBackends(ctx, opts, nodes...); err != nil {
		return nil, err
	}
	return s.Cluster.CreateService(ctx, opts)
}

// SetBackends makes a Service's backends be one on each of the nodes; no nodes
// mean all.
func (s *Stack) SetBackends(ctx context.Context, opts controlplane.ServiceOptions, nodes ...*Node) error {
	if len(nodes) == 0 {
		nodes = s.Nodes
	}
	if err := s.Cluster.CreateNamespace(ctx, opts.Namespace); err != nil {
		return err
	}
	var pods []controlplane.BackendPod
	for _, n := range nodes {
		pods = append(pods, controlplane.BackendPod{Node: n.Name, IPs: []netip.Addr{n.Pod4, n.Pod6}, Ready: true})
	}
	return s.Cluster.SetBackends(ctx, opts.Namespace, cmp.Or(opts.Backends, opts.Name), nil, pods)
}

// SetArgs replaces the arguments that controllers and agents have besides the
// manifest's from their next start on.
func (s *Stack) SetArgs(args ...string) { s.opts.Args = args }

// Agent returns the agent of a node.
func (s *Stack) Agent(n *Node) *Daemon { return s.Agents[n.Number-1] }

// Down ends every program of the Stack and removes the network.
func (s *Stack) Down(ctx context.Context) error {
	for _, d := range append(s.Controllers, s.Agents...) {
		if d.process != nil {
			_ = d.Kill()
		}
	}
	if s.Cluster != nil {
		s.Cluster.Stop()
	}
	return errors.Join(s.verified(), s.Topology.Down(ctx))
}

// verified returns an error if an agent has found that decisions that it remembered differ
// from those of a full computation.
func (s *Stack) verified() error {
	for _, d := range s.Agents {
		log, err := os.ReadFile(s.LogFile(d.Name))
		if err != nil {
			continue // it was never started
		}
		for line := range strings.Lines(string(log)) {
			if strings.Contains(line, reconcile.MessageDiffer) {
				return fmt.Errorf("%s: %s", d.Name, strings.TrimSpace(line))
			}
		}
	}
	return nil
}

// Root returns the root of the source tree that the working directory is in.
func Root() (string, error) {
	makefile, err := findAbove("Makefile")
	return filepath.Dir(makefile), err
}

// findAbove returns the path of a file of the source tree, looked up from the
// working directory upwards.
func findAbove(name string) (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", name, err)
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find %s: not in %s or above", name, wd)
		}
	}
}

// heraldBin returns the directory that holds Herald's binaries.
func heraldBin(dir string) (string, error) {
	if dir != "" {
		return filepath.Abs(dir)
	}
	path, err := findAbove("bin/herald-agent")
	if err != nil {
		return "", fmt.Errorf("%w: build it with make build", err)
	}
	return filepath.Dir(path), nil
}
