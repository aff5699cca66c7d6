// SPDX-License-Identifier: Apache-2.0

// Package controlplane runs a Kubernetes control plane: etcd, an API server that
// enforces RBAC, and a few controllers. Nodes and Pods are what its methods write.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/heraldlb/herald/lab/process"
)

const (
	// readyTimeout bounds each wait for a program to serve. An API server needs
	// 5 seconds of one core; the machine may have other work.
	readyTimeout = time.Minute

	// pollInterval separates two looks at something that cannot be watched.
	pollInterval = 20 * time.Millisecond

	// defaultAPIPort is where an API server listens that has a namespace to itself.
	defaultAPIPort = 6443
)

var errNoGate = errors.New("the lab has no gate before its API server")

// Address ranges of a Cluster that asks for no others.
var (
	serviceCIDR4 = netip.MustParsePrefix("10.96.0.0/12")
	serviceCIDR6 = netip.MustParsePrefix("fd00:10:96::/108") // the largest that the API server takes
	podCIDR4     = netip.MustParsePrefix("10.244.0.0/16")
	podCIDR6     = netip.MustParsePrefix("fd00:10:244::/56")
)

// Options says what kind of Cluster to start, and where.
type Options struct {
	Dir        string     // required: data, keys, kubeconfig files and logs; must exist
	ListenAddr netip.Addr // required: address of the API server, reached by nodes and by this process

	Port         uint16         // optional: port of the API server; 0 takes a free one, or 6443 in a Namespace
	Namespace    string         // optional: network namespace of the control plane; empty means this process's
	Nodes        []Node         // optional: Nodes to create
	DualStack    bool           // optional: Services and pods have IPv6 addresses as well as IPv4
	ServiceCIDRs []netip.Prefix // optional: empty means 10.96.0.0/12, and fd00:10:96::/108 if DualStack
	Gate         bool           // optional: a Gate stands between pods and the API server
	PodCIDRs     []netip.Prefix // optional: empty means 10.244.0.0/16, and fd00:10:244::/56 if DualStack
	Log          io.Writer      // optional: receives the programs' output, which is in Dir/*.log too
}

// A Cluster is a Kubernetes control plane: etcd, an API server that enforces
// RBAC, and the controllers for EndpointSlices, namespaces and service accounts.
// It has no kubelet and no scheduler: Nodes and Pods are what its methods write.
//
// Its methods may be called at the same time, except Stop and those that start or
// stop the API server.
type Cluster struct {
	opts    Options
	server  netip.AddrPort
	gate    *Gate // nil: none
	access  *access
	client  kubernetes.Interface
	dynamic dynamic.Interface
	mapper  *restmapper.DeferredDiscoveryRESTMapper

	etcd, apiServer, manager *process.Process

	mu      sync.Mutex           // guards the field below
	proxies map[string]kubeProxy // by node; nil: none was started
}

// A kubeProxy is the kube-proxy of a node.
type kubeProxy struct {
	*process.Process
	namespace string
}

// Start starts a Cluster and returns when it serves. The programs outlive
// ctx: Stop ends them, or the end of this process.
func Start(ctx context.Context, opts Options) (*Cluster, error) {
	c, err := newCluster(opts)
	if err != nil {
		return nil, fmt.Errorf("start cluster: %w", err)
	}
	if err := c.start(ctx); err != nil {
		c.Stop()
		return nil, fmt.Errorf("start cluster: %w", err)
	}
	return c, nil
}

func newCluster(opts Options) (*Cluster, error) {
	if len(opts.ServiceCIDRs) == 0 {
		opts.ServiceCIDRs = families(opts.DualStack, serviceCIDR4, serviceCIDR6)
	}
	if len(opts.PodCIDRs) == 0 {
		opts.PodCIDRs = families(opts.DualStack, podCIDR4, podCIDR6)
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, err
	}
	opts.Dir = dir
	port, err := choosePort(opts)
	if err != nil {
		return nil, err
	}
	opts.Port = port
	server := netip.AddrPortFrom(opts.ListenAddr, port)
	access, err := newAccess(opts.Dir, server)
	if err != nil {
		return nil, err
	}
	c, err := connectCluster(opts, access)
	if err == nil && opts.Gate {
		c.gate, err = OpenGate(server)
	}
	return c, err
}

// Attach returns a Cluster that another process has started with these options,
// which are those of [Cluster.Options]. [Cluster.Visit] gives it its processes.
func Attach(opts Options) (*Cluster, error) {
	access, err := readAccess(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("attach to cluster: %w", err)
	}
	return connectCluster(opts, access)
}

// Options returns what the Cluster was started with, its port among it.
func (c *Cluster) Options() Options { return c.opts }

// Visit puts in the place of each process what a function makes of it.
func (c *Cluster) Visit(fn func(name string, p *process.Process) *process.Process) {
	c.etcd = fn("etcd", c.etcd)
	c.apiServer = fn("kube-apiserver", c.apiServer)
	c.manager = fn("kube-controller-manager", c.manager)
}

// connectCluster returns a Cluster with clients of its API server, which need not run.
func connectCluster(opts Options, access *access) (*Cluster, error) {
	c := &Cluster{opts: opts, server: netip.AddrPortFrom(opts.ListenAddr, opts.Port), access: access}
	config := c.RESTConfig(Admin)
	var err error
	if c.client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	if c.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, err
	}
	c.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(c.client.Discovery()))
	return c, nil
}

func families(dual bool, v4, v6 netip.Prefix) []netip.Prefix {
	if dual {
		return []netip.Prefix{v4, v6}
	}
	return []netip.Prefix{v4}
}

// choosePort returns the port of the API server. It must stay the same when that
// is restarted, so the server cannot choose itself.
func choosePort(opts Options) (uint16, error) {
	switch {
	case opts.Port != 0:
		return opts.Port, nil
	case opts.Namespace != "":
		return defaultAPIPort, nil
	}
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(opts.ListenAddr, 0)))
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort().Port(), nil
}

func (c *Cluster) start(ctx context.Context) (err error) {
	if c.etcd, err = c.startEtcd(ctx); err != nil {
		return err
	}
	if err := c.StartAPIServer(ctx); err != nil {
		return err
	}
	if c.manager, err = c.startManager(ctx); err != nil {
		return err
	}
	for _, n := range c.opts.Nodes {
		if err := c.CreateNode(ctx, n); err != nil {
			return err
		}
	}
	// The controllers run once the first of their work is done.
	return c.await(ctx, c.manager, func(ctx context.Context) error {
		_, err := c.client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// StartAPIServer starts the API server again after StopAPIServer, and returns
// when it serves.
func (c *Cluster) StartAPIServer(ctx context.Context) error {
	var err error
	if c.apiServer, err = c.startAPIServer(ctx); err != nil {
		return err
	}
	err = c.await(ctx, c.apiServer, func(ctx context.Context) error {
		return c.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
	if err != nil || c.gate == nil {
		return err
	}
	return c.gate.Open()
}

// Mend starts the API server again if it has ended.
func (c *Cluster) Mend(ctx context.Context) error {
	if !c.apiServer.Ended() {
		return nil
	}
	return c.StartAPIServer(ctx)
}

// StopAPIServer ends the API server as a crash does, and leaves everything else.
func (c *Cluster) StopAPIServer() {
	if c.gate != nil {
		c.gate.Shut() // a client is refused, as by a port where nobody listens
	}
	// Asked to end, it would first wait for its watches, up to a minute.
	_ = c.apiServer.Kill(unix.SIGKILL)
	c.apiServer.Stop()
}

// RestartAPIServer ends the API server, starts it at the same address with the
// same data, and returns when it serves.
func (c *Cluster) RestartAPIServer(ctx context.Context) error {
	c.StopAPIServer()
	if err := c.StartAPIServer(ctx); err != nil {
		return fmt.Errorf("restart API server: %w", err)
	}
	return nil
}

// SlowAPIServer has each answer of the API server reach pods so much later, until stop is
// called. The Cluster needs a Gate. Its own client is not slowed.
func (c *Cluster) SlowAPIServer(d time.Duration) (stop func() error) {
	if c.gate == nil {
		return func() error { return errNoGate }
	}
	c.gate.Delay(d)
	return func() error {
		c.gate.Delay(0)
		return nil
	}
}

// StallAPIServer has the connections that pods have to the API server now carry no more
// answers, until resume is called. They stay open: a watch hears nothing. New connections
// are not stalled. The Cluster needs a Gate.
func (c *Cluster) StallAPIServer() (resume func() error) {
	if c.gate == nil {
		return func() error { return errNoGate }
	}
	end := c.gate.Stall()
	return func() error {
		end()
		return nil
	}
}

// Stop ends every program of the Cluster. Its data and logs stay in Dir.
func (c *Cluster) Stop() {
	if c.gate != nil {
		c.gate.Shut()
	}
	c.mu.Lock()
	programs := []*process.Process{c.manager, c.apiServer, c.etcd}
	for _, p := range c.proxies {
		programs = append(programs, p.Process)
	}
	c.mu.Unlock()
	programs = slices.DeleteFunc(programs, func(p *process.Process) bool { return p == nil })
	// Nothing will be read from Dir by a later program, so none needs time to tidy up.
	for _, p := range programs {
		_ = p.Kill(unix.SIGKILL)
	}
	for _, p := range programs {
		p.Stop()
	}
}

// Client is a client of the API server that may do everything, unthrottled.
func (c *Cluster) Client() kubernetes.Interface { return c.client }

// RESTConfig is a client configuration for a user, unthrottled.
func (c *Cluster) RESTConfig(user User) *rest.Config { return c.access.restConfig(user) }

// Gate stands between pods and the API server. It is nil unless [Options] ask for it.
func (c *Cluster) Gate() *Gate { return c.gate }

// Server is where pods find the API server: at the Gate, if there is one.
func (c *Cluster) Server() netip.AddrPort {
	if c.gate != nil {
		return c.gate.Addr()
	}
	return c.server
}

// Credentials are a user's token, and the authority of the API server.
func (c *Cluster) Credentials(user User) (token, authority string) {
	return c.access.tokens[user], string(c.access.ca)
}

// PodToken returns the token of a service account that a kubelet asks for when it
// starts a pod: it is bound to the pod, and names the pod's node.
func (c *Cluster) PodToken(ctx context.Context, namespace, account, pod string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, waitTimeout)
	defer cancel()
	p, err := c.client.CoreV1().Pods(namespace).Get(ctx, pod, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("token for pod %s: %w", pod, err)
	}
	lasts := int64((24 * time.Hour).Seconds())
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &lasts,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod, UID: p.UID},
	}}
	answer, err := c.client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("token for pod %s: %w", pod, err)
	}
	return answer.Status.Token, nil
}

// WriteKubeconfig writes a kubeconfig file for the bearer of a token.
func (c *Cluster) WriteKubeconfig(path, token string) error {
	const bearer User = "bearer"
	a := &access{server: c.access.server, ca: c.access.ca, tokens: map[User]string{bearer: token}}
	return clientcmd.WriteToFile(a.kubeconfig(bearer), path)
}

// Kubeconfig is the path of a user's kubeconfig file.
func (c *Cluster) Kubeconfig(user User) string { return kubeconfigPath(c.opts.Dir, user) }

// await waits until a program serves, a minute at most.
func (c *Cluster) await(ctx context.Context, p *process.Process, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return p.Await(ctx, pollInterval, ready)
}
