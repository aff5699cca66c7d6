// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/heraldlb/herald/lab/process"
)

// kubeBinary is where the build puts herald-kube, from the module's root.
const kubeBinary = "bin/lab/herald-kube"

// KubeBinary returns the path of herald-kube, the control plane in one binary:
// $HERALD_KUBE, or bin/lab/herald-kube in the working directory or the nearest
// directory above it.
func KubeBinary() (string, error) {
	if path := os.Getenv("HERALD_KUBE"); path != "" {
		return existing("HERALD_KUBE", path)
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find herald-kube: %w", err)
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		path := filepath.Join(dir, kubeBinary)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find herald-kube: no %s in %s or above: build it with make lab-bin", kubeBinary, wd)
		}
	}
}

// existing returns the absolute form of a path that an environment variable gave:
// programs run in a directory of their own.
func existing(variable, path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(abs)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", variable, err)
	}
	return abs, nil
}

// program returns how to run one of herald-kube's programs.
func program(name string) (path string, args []string, err error) {
	// The directory that envtest users set has an etcd and a kube-apiserver only.
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		path, err := existing("KUBEBUILDER_ASSETS", filepath.Join(dir, name))
		if !errors.Is(err, fs.ErrNotExist) {
			return path, nil, err
		}
	}
	path, err = KubeBinary()
	return path, []string{name}, err
}

// run starts a program of the control plane, or kube-proxy, to run until Stop.
func (c *Cluster) run(ctx context.Context, name, instance, namespace string, flags ...string) (*process.Process, error) {
	path, args, err := program(name)
	if err != nil {
		return nil, err
	}
	return process.Start(context.WithoutCancel(ctx), process.Options{
		Name:      instance,
		Path:      path,
		Args:      append(args, flags...),
		Dir:       c.opts.Dir,
		Namespace: namespace,
		LogFile:   filepath.Join(c.opts.Dir, instance+".log"),
		Log:       c.opts.Log,
	})
}

// etcdSocket is in the Cluster's directory, where every program runs: a port
// could collide with another Cluster's, and a longer path with the limit of 107
// bytes.
const etcdSocket = "etcd.sock"

// startEtcd starts etcd and returns when it listens.
func (c *Cluster) startEtcd(ctx context.Context) (*process.Process, error) {
	p, err := c.run(ctx, "etcd", "etcd", c.opts.Namespace,
		"--data-dir="+etcdData,
		"--listen-client-urls=unix://"+etcdSocket,
		"--listen-peer-urls=unix://etcd-peer.sock",
		// Addresses for other members, and clients that look for them: there are none.
		"--advertise-client-urls=http://localhost:2379",
		"--initial-advertise-peer-urls=http://localhost:2380",
		"--initial-cluster=default=http://localhost:2380",
		// The data need not outlive the machine, and alone it wins every election.
		"--unsafe-no-fsync",
		"--heartbeat-interval=10",
		"--election-timeout=100",
		"--log-level=warn",
	)
	if err != nil {
		return nil, err
	}
	return p, c.await(ctx, p, func(context.Context) error {
		_, err := os.Stat(filepath.Join(c.opts.Dir, etcdSocket))
		return err
	})
}

func (c *Cluster) startAPIServer(ctx context.Context) (*process.Process, error) {
	return c.run(ctx, "kube-apiserver", "kube-apiserver", c.opts.Namespace,
		"--etcd-servers=unix://"+etcdSocket,
		"--bind-address="+c.server.Addr().String(),
		"--advertise-address="+c.server.Addr().String(),
		fmt.Sprintf("--secure-port=%d", c.server.Port()),
		"--tls-cert-file=tls.crt",
		"--tls-private-key-file=tls.key",
		"--token-auth-file=tokens.csv",
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=sa.pub",
		"--service-account-signing-key-file=sa.key",
		"--service-cluster-ip-range="+join(c.opts.ServiceCIDRs),
		// Nobody makes tokens for pods, or takes taints off Nodes.
		"--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
		// Nobody looks for the API server by its Service, which allows no loopback address.
		"--endpoint-reconciler-type=none",
		"--allow-privileged",
	)
}

func (c *Cluster) startManager(ctx context.Context) (*process.Process, error) {
	return c.run(ctx, "kube-controller-manager", "kube-controller-manager", c.opts.Namespace,
		"--kubeconfig="+c.Kubeconfig(managerUser))
}

// StartKubeProxy starts a node's kube-proxy, in nftables mode, in the node's
// network namespace, to run until the Cluster stops. It returns when kube-proxy
// has written its first rules.
func (c *Cluster) StartKubeProxy(ctx context.Context, node, namespace string) (*process.Process, error) {
	p, err := c.run(ctx, "kube-proxy", "kube-proxy-"+node, namespace,
		"--kubeconfig="+c.Kubeconfig(proxyUser),
		"--hostname-override="+node,
		"--cluster-cidr="+join(c.opts.PodCIDRs),
	)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	if c.proxies == nil {
		c.proxies = map[string]kubeProxy{}
	}
	c.proxies[node] = kubeProxy{p, namespace}
	c.mu.Unlock()
	return p, c.await(ctx, p, func(ctx context.Context) error {
		probe, err := process.Start(ctx, process.Options{
			Path:      "nft",
			Args:      []string{"list", "chain", c.proxyTable(), "kube-proxy", "services"},
			Namespace: namespace,
		})
		if err != nil {
			return err
		}
		return probe.Wait()
	})
}

// KubeProxy returns a node's kube-proxy; nil: none was started.
func (c *Cluster) KubeProxy(node string) *process.Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proxies[node].Process
}

// proxyTable is the address family of the rules that kube-proxy writes last.
func (c *Cluster) proxyTable() string {
	if c.opts.ServiceCIDRs[len(c.opts.ServiceCIDRs)-1].Addr().Is4() {
		return "ip"
	}
	return "ip6"
}

// join renders prefixes as Kubernetes' flags take them.
func join(prefixes []netip.Prefix) string {
	s := make([]string, len(prefixes))
	for i, p := range prefixes {
		s[i] = p.String()
	}
	return strings.Join(s, ",")
}
