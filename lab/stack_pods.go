// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/process"
)

// The Secret that the controller makes and agents have as a volume, and the pods'
// other names in the manifest.
const (
	gossipSecret        = "memberlist"
	controllerContainer = "controller"
)

// mountSecret waits until a controller has made the Secret of the agents, and gives
// it to their pods as kubelets would.
func (s *Stack) mountSecret(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var secret *corev1.Secret
	err := process.PollWhile(ctx, s.Controllers[0].Process(), func() (err error) {
		secret, err = s.Cluster.Client().CoreV1().Secrets(HeraldNamespace).Get(ctx, gossipSecret, metav1.GetOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("wait for the controller's Secret %s: %w", gossipSecret, err)
	}
	files := make(map[string]string)
	for name, value := range secret.Data {
		files[name] = string(value)
	}
	if err := projected(s.gossipKey(), 0, files); err != nil {
		return err
	}
	for _, n := range s.Nodes {
		if n.Sidecar == nil {
			continue
		}
		for _, v := range n.Sidecar.pod.Volumes {
			if v.Secret == nil || v.Secret.SecretName != gossipSecret {
				continue
			}
			if err := projected(n.Sidecar.volumes()[v.Name], n.Sidecar.vty, files); err != nil {
				return err
			}
		}
	}
	return nil
}

// serviceAccount gives a container the way to the API server, and who it is there: in a
// folder that is mounted already, or where every container has it by default.
func (s *Stack) serviceAccount(opts *containerOptions, token, mounted string) error {
	dir := cmp.Or(mounted, filepath.Join(s.Dir, opts.Name+"-account"))
	_, authority := s.Cluster.Credentials(controlplane.Admin)
	files := map[string]string{"token": token, "ca.crt": authority, "namespace": HeraldNamespace}
	group := opts.GID
	if len(opts.Groups) > 0 {
		group = opts.Groups[0]
	}
	if err := projected(dir, group, files); err != nil {
		return err
	}
	server := s.Cluster.Server()
	opts.Env = append(opts.Env, "KUBERNETES_SERVICE_HOST="+server.Addr().String(), fmt.Sprintf("KUBERNETES_SERVICE_PORT=%d", server.Port()))
	if mounted == "" {
		opts.Mounts = append(opts.Mounts, containerMount{From: dir, To: serviceAccountDir, ReadOnly: true})
	}
	opts.Dir = filepath.Join(s.Dir, opts.Name+"-image")
	return os.MkdirAll(opts.Dir, 0o755)
}

// pagePort is where the first controller serves its web page.
const pagePort = 7474

// newController returns a controller, which runs in its container, on this host,
// that is, outside the nodes.
func (s *Stack) newController(i int) (*Daemon, error) {
	name := "controller-" + strconv.Itoa(i)
	in := instance{pod: name, addr: s.Management.Addr()}
	at, err := containerURL(&s.pods.Controller, controllerContainer, in.addr)
	if err != nil {
		return nil, err
	}
	// Another Stack has another address, and the same ports; so have pods. More
	// controllers at this address take the ports after the first one's.
	where, err := netip.ParseAddrPort(strings.TrimPrefix(at, "http://"))
	if err != nil {
		return nil, err
	}
	where = netip.AddrPortFrom(where.Addr(), where.Port()+uint16(i))
	// Nor has another Stack this loopback address.
	loopback := where.Addr().As4()
	loopback[0] = 127
	page := netip.AddrPortFrom(netip.AddrFrom4(loopback), uint16(pagePort+i))
	d := &Daemon{Name: name, Page: "http://" + page.String(), url: "http://" + where.String(), client: http.DefaultClient}
	d.start = func() (*process.Process, error) {
		opts, err := in.container(&s.pods.Controller, controllerContainer, nil)
		if err != nil {
			return nil, err
		}
		opts.Name, opts.LogFile = name, s.LogFile(name)
		opts.Path = filepath.Join(cmp.Or(d.Bin, s.opts.Bin), "herald-controller")
		opts.Args = append(append(append(opts.Args, s.args()...), d.Args...), "--bind-address="+where.Addr().String(), "--page-address="+page.String())
		if s.opts.Verify {
			opts.Args = append(opts.Args, "--verify-decisions")
		}
		if d.Bin != "" {
			if opts.Args, err = supported(opts.Path, opts.Args); err != nil {
				return nil, err
			}
		}
		if i > 0 {
			opts.Args = append(opts.Args, "--port="+strconv.Itoa(int(where.Port())))
		}
		token, _ := s.Cluster.Credentials(controlplane.Controller)
		if err := s.serviceAccount(&opts, token, ""); err != nil {
			return nil, err
		}
		run, err := opts.process()
		if err != nil {
			return nil, err
		}
		return process.Start(s.life, run)
	}
	return d, nil
}

// AgentPod returns the name of the agent's pod on a node.
func AgentPod(n *Node) string { return "herald-agent-" + n.Name }

// createPod writes the agent's pod on a node.
func (s *Stack) createPod(ctx context.Context, n *Node) error {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: HeraldNamespace, Name: AgentPod(n), Labels: map[string]string{"app.kubernetes.io/name": "herald", "app.kubernetes.io/component": "agent"},
		},
		Spec: corev1.PodSpec{
			NodeName: n.Name, HostNetwork: s.pods.Agent.HostNetwork, ServiceAccountName: s.pods.Agent.ServiceAccountName,
		},
	}
	for _, c := range s.pods.Agent.Containers {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: c.Name, Image: c.Image, Ports: c.Ports})
	}
	pods := s.Cluster.Client().CoreV1().Pods(HeraldNamespace)
	pod, err := pods.Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create the pod of the agent on %s: %w", n.Name, err)
	}
	pod.Status.Phase = corev1.PodRunning // there is no kubelet to say so
	if _, err := pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("start the pod of the agent on %s: %w", n.Name, err)
	}
	return nil
}

// agentToken returns the token of the agent's pod on a node. As a kubelet does, it keeps
// the last one for when the API server gives none.
func (s *Stack) agentToken(n *Node) (string, error) {
	kept := filepath.Join(s.Dir, "token-"+n.Name)
	token, err := s.Cluster.PodToken(s.life, HeraldNamespace, s.pods.Agent.ServiceAccountName, AgentPod(n))
	if err != nil {
		last, kerr := os.ReadFile(kept)
		if kerr != nil {
			return "", err
		}
		return string(last), nil
	}
	return token, os.WriteFile(kept, []byte(token), 0o600)
}

// newAgent returns the agent of a node.
func (s *Stack) newAgent(n *Node) (*Daemon, error) {
	name := "agent-" + n.Name
	addr := n.Addr4
	if n.Sidecar == nil {
		addr = netip.MustParseAddr("127.0.0.1") // which is there while links are down
	}
	d := &Daemon{Name: name, client: n.httpClient()}
	var err error
	if d.url, err = containerURL(&s.pods.Agent, agentContainer, addr); err != nil {
		return nil, err
	}
	start := func() (*process.Process, error) {
		opts, err := s.agent(n)
		if err != nil {
			return nil, err
		}
		opts.Name, opts.LogFile = name, s.LogFile(name)
		opts.Path = filepath.Join(cmp.Or(d.Bin, s.opts.Bin), "herald-agent")
		opts.Args = append(append(opts.Args, s.args()...), d.Args...)
		if s.opts.Verify {
			opts.Args = append(opts.Args, "--verify-decisions")
		}
		if d.Bin != "" {
			if opts.Args, err = supported(opts.Path, opts.Args); err != nil {
				return nil, err
			}
		}
		if n.Sidecar == nil {
			return n.Start(opts.Options)
		}
		token, err := s.agentToken(n)
		if err != nil {
			return nil, err
		}
		if err := s.serviceAccount(&opts, token, n.Sidecar.volumes()[tokenVolume(&n.Sidecar.pod)]); err != nil {
			return nil, err
		}
		return n.startContainer(opts)
	}
	k := new(kubelet)
	d.start = func() (*process.Process, error) {
		p, err := start()
		if err == nil {
			s.started(k, n, p)
		}
		return p, err
	}
	return d, nil
}

// agent returns how the agent of a node is run. Without a container it has the same
// flags and environment, but for where things are.
func (s *Stack) agent(n *Node) (opts containerOptions, err error) {
	if n.Sidecar != nil {
		return n.Sidecar.container(agentContainer)
	}
	c, err := Container(&s.pods.Agent, agentContainer)
	if err != nil {
		return opts, err
	}
	if opts.Env, err = n.instance().env(c); err != nil {
		return opts, err
	}
	if opts.Args, err = n.instance().args(c); err != nil {
		return opts, err
	}
	token, err := s.agentToken(n)
	if err != nil {
		return opts, err
	}
	kubeconfig := filepath.Join(s.Dir, "agent-"+n.Name+".kubeconfig")
	if err := s.Cluster.WriteKubeconfig(kubeconfig, token); err != nil {
		return opts, err
	}
	opts.Args = append(opts.Args, "--kubeconfig="+kubeconfig, "--ml-secret-key-path="+s.gossipKey(), "--bind-address=")
	return opts, nil
}

// gossipKey is the directory with the secret that agents encrypt their gossip
// with, where they do not run in containers.
func (s *Stack) gossipKey() string { return filepath.Join(s.Dir, gossipSecret) }

// args returns the arguments that controllers and agents have besides the manifest's.
func (s *Stack) args() []string {
	return append([]string{"--log-level=debug"}, s.opts.Args...)
}
