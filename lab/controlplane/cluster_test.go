// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// TestCluster does with one Cluster what end-to-end tests do: starting one for
// each would take seconds. The last two tests end the API server and the rest.
func TestCluster(t *testing.T) {
	lab.Need(t, "ip", "nft")
	dir := t.TempDir()
	n1, host := newProxyNode(t)
	c, err := controlplane.Start(t.Context(), controlplane.Options{
		Dir:        dir,
		ListenAddr: host,
		DualStack:  true,
		Nodes: []controlplane.Node{
			{Name: "n1", Addresses: addrs("10.10.0.1", "fd00:10:10::1"), PodCIDRs: prefixes("10.244.1.0/24", "fd00:10:244:1::/64")},
			{Name: "n2", Addresses: addrs("10.10.0.2", "fd00:10:10::2"), PodCIDRs: prefixes("10.244.2.0/24", "fd00:10:244:2::/64")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	if err := c.CreateNamespace(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}

	// Together, because the namespace controller takes its time.
	t.Run("methods", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T, *controlplane.Cluster){
			"endpoints follow backends":          testEndpoints,
			"manifests give rights":              testRights,
			"custom resource follows definition": testCustomResource,
			"node changes":                       testNode,
			"config map is replaced":             testConfigMap,
			"namespace is deleted":               testNamespace,
			"kube-proxy forwards to a backend":   func(t *testing.T, c *controlplane.Cluster) { testProxy(t, c, n1) },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, c)
			})
		}
	})
	t.Run("restart keeps everything", func(t *testing.T) { testRestart(t, c) })
	t.Run("stop leaves nothing", func(t *testing.T) {
		// More than these while kube-proxy runs nft.
		if running := programsIn(t, dir); len(running) < 4 {
			t.Errorf("running programs: %v; want etcd, the API server, the controllers and a kube-proxy", running)
		}
		c.Stop()
		if left := programsIn(t, dir); len(left) > 0 {
			t.Errorf("programs still running: %v", left)
		}
	})
}

func testEndpoints(t *testing.T, c *controlplane.Cluster) {
	ctx := t.Context()
	svc, err := c.CreateService(ctx, controlplane.ServiceOptions{
		Namespace:    "web",
		Name:         "endpoints",
		FamilyPolicy: corev1.IPFamilyPolicyRequireDualStack,
		Local:        true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if svc.Spec.HealthCheckNodePort == 0 || len(svc.Spec.ClusterIPs) != 2 {
		t.Errorf("health check port %d, cluster addresses %v; want a port and two addresses",
			svc.Spec.HealthCheckNodePort, svc.Spec.ClusterIPs)
	}
	on1 := controlplane.BackendPod{Node: "n1", IPs: addrs("10.244.1.20", "fd00:10:244:1::20"), Ready: true}
	on2 := controlplane.BackendPod{Node: "n2", IPs: addrs("10.244.2.20", "fd00:10:244:2::20"), Ready: true}
	notReady, terminating := on2, on2
	notReady.Ready = false
	terminating.Terminating = true
	both := append(addrs(), append(on1.IPs, on2.IPs...)...)

	steps := []struct {
		name     string
		backends []controlplane.BackendPod
		want     []netip.Addr
	}{
		{"none", nil, nil},
		{"one a node", []controlplane.BackendPod{on1, on2}, both},
		{"one not ready", []controlplane.BackendPod{on1, notReady}, on1.IPs},
		{"ready again", []controlplane.BackendPod{on1, on2}, both},
		{"one terminating", []controlplane.BackendPod{on1, terminating}, on1.IPs},
		{"another in its place", []controlplane.BackendPod{on1, on2}, both},
		{"one gone", []controlplane.BackendPod{on2}, on2.IPs},
	}
	for _, step := range steps {
		if err := c.SetBackends(ctx, "web", "endpoints", map[string]string{"app": "web"}, step.backends); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if err := c.WaitEndpoints(ctx, "web", "endpoints", step.want...); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
	}
}

func testRights(t *testing.T, c *controlplane.Cluster) {
	agent, err := kubernetes.NewForConfig(c.RESTConfig(controlplane.Agent))
	if err != nil {
		t.Fatal(err)
	}
	list := func() error {
		_, err := agent.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
		return err
	}
	if err := list(); !apierrors.IsForbidden(err) {
		t.Fatalf("before: %v, want it forbidden", err)
	}
	const manifests = `
# What the agent may do.
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: agent}
rules: [{apiGroups: [""], resources: [nodes], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: agent}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: agent}
subjects: [{kind: ServiceAccount, namespace: metallb-system, name: herald-agent}]
`
	if err := c.Apply(t.Context(), manifests); err != nil {
		t.Fatal(err)
	}
	e2e.Eventually(t, "the agent may list nodes", list)
	if err := c.Delete(t.Context(), manifests); err != nil {
		t.Fatal(err)
	}
	e2e.Eventually(t, "the agent may not list nodes", func() error {
		if err := list(); !apierrors.IsForbidden(err) {
			return fmt.Errorf("got %v, want it forbidden", err)
		}
		return nil
	})
}

func testCustomResource(t *testing.T, c *controlplane.Cluster) {
	err := c.Apply(t.Context(), `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: pools.lab.heraldlb.io}
spec:
  group: lab.heraldlb.io
  scope: Namespaced
  names: {plural: pools, singular: pool, kind: Pool}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}
---
apiVersion: lab.heraldlb.io/v1
kind: Pool
metadata: {name: small}
spec: {size: 1}
`)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Apply(t.Context(), "{apiVersion: lab.heraldlb.io/v1, kind: Pool, metadata: {name: small}, spec: {size: many}}")
	if err == nil || !strings.Contains(err.Error(), ".spec.size") {
		t.Errorf("a pool whose size is a word: got %v, want an error that names it", err)
	}
}

func testNode(t *testing.T, c *controlplane.Cluster) {
	ctx := t.Context()
	const key = corev1.LabelNodeExcludeBalancers
	for _, err := range []error{
		c.SetNodeCondition(ctx, "n2", corev1.NodeNetworkUnavailable, true),
		c.LabelNode(ctx, "n2", key, ""),
		c.LabelNode(ctx, "n2", "rack", "a"),
		c.UnlabelNode(ctx, "n2", "rack"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	node, err := c.Client().CoreV1().Nodes().Get(ctx, "n2", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[corev1.NodeConditionType]corev1.ConditionStatus)
	for _, condition := range node.Status.Conditions {
		got[condition.Type] = condition.Status
	}
	want := map[corev1.NodeConditionType]corev1.ConditionStatus{
		corev1.NodeReady:              corev1.ConditionTrue,
		corev1.NodeNetworkUnavailable: corev1.ConditionTrue,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("conditions (-want +got):\n%s", diff)
	}
	wantLabels := map[string]string{corev1.LabelHostname: "n2", corev1.LabelOSStable: "linux", key: ""}
	if diff := cmp.Diff(wantLabels, node.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

func testConfigMap(t *testing.T, c *controlplane.Cluster) {
	ctx := t.Context()
	if err := c.ApplyConfigMap(ctx, "web", "config", map[string]string{"a": "1", "b": "1"}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"b": "2"}
	if err := c.ApplyConfigMap(ctx, "web", "config", want); err != nil {
		t.Fatal(err)
	}
	cm, err := c.Client().CoreV1().ConfigMaps("web").Get(ctx, "config", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, cm.Data); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
}

// testProxy connects to a Service from the node that runs its only backend.
func testProxy(t *testing.T, c *controlplane.Cluster, node lab.Namespace) {
	ctx := t.Context()
	if _, err := c.StartKubeProxy(ctx, "n1", node.Name); err != nil {
		t.Fatal(err)
	}
	backend := controlplane.BackendPod{Node: "n1", IPs: addrs("10.244.1.10"), Ready: true}
	if err := c.SetBackends(ctx, "web", "proxied", nil, []controlplane.BackendPod{backend}); err != nil {
		t.Fatal(err)
	}
	svc, err := c.CreateService(ctx, controlplane.ServiceOptions{Namespace: "web", Name: "proxied"})
	if err != nil {
		t.Fatal(err)
	}
	svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.80"}}
	if _, err := c.Client().CoreV1().Services("web").UpdateStatus(ctx, svc, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}

	var listener net.Listener
	err = node.Do(func() (err error) {
		listener, err = net.Listen("tcp4", fmt.Sprintf("10.244.1.10:%d", controlplane.BackendPort))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, "backend on n1")
			conn.Close()
		}
	}()
	for _, addr := range []string{svc.Spec.ClusterIP, "192.0.2.80"} {
		e2e.Eventually(t, addr+" reaches the backend", func() error {
			return node.Do(func() error {
				conn, err := net.DialTimeout("tcp4", net.JoinHostPort(addr, "80"), time.Second)
				if err != nil {
					return err
				}
				defer conn.Close()
				answer, err := io.ReadAll(conn)
				if err == nil && string(answer) != "backend on n1" {
					err = fmt.Errorf("got %q", answer)
				}
				return err
			})
		})
	}
}

func testNamespace(t *testing.T, c *controlplane.Cluster) {
	ctx := t.Context()
	if err := c.CreateNamespace(ctx, "short"); err != nil {
		t.Fatal(err)
	}
	if err := c.ApplyConfigMap(ctx, "short", "config", nil); err != nil {
		t.Fatal(err)
	}
	namespaces := c.Client().CoreV1().Namespaces()
	if err := namespaces.Delete(ctx, "short", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	e2e.Eventually(t, "the namespace is gone", func() error {
		ns, err := namespaces.Get(ctx, "short", metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("got %v, %v, want it not found", ns.Status, err)
		}
		return nil
	})
}

// testRestart waits for a Service's address while the API server is restarted:
// the Service, the watch and the controllers must all survive it.
func testRestart(t *testing.T, c *controlplane.Cluster) {
	ctx := t.Context()
	svc, err := c.CreateService(ctx, controlplane.ServiceOptions{Namespace: "web", Name: "restart", Class: "lab.heraldlb.io/none"})
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		addrs []netip.Addr
		err   error
	}
	waited := make(chan result, 1)
	go func() {
		got, err := c.WaitAddress(ctx, "web", "restart")
		waited <- result{got, err}
	}()
	if err := c.RestartAPIServer(ctx); err != nil {
		t.Fatal(err)
	}
	want := addrs("192.0.2.1", "2001:db8::1")
	for _, a := range want {
		svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a.String()})
	}
	if _, err := c.Client().CoreV1().Services("web").UpdateStatus(ctx, svc, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	got := <-waited
	if got.err != nil {
		t.Fatal(got.err)
	}
	if diff := cmp.Diff(want, got.addrs, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	backend := controlplane.BackendPod{Node: "n2", IPs: addrs("10.244.2.30"), Ready: true}
	if err := c.SetBackends(ctx, "web", "restart", nil, []controlplane.BackendPod{backend}); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitEndpoints(ctx, "web", "restart", backend.IPs...); err != nil {
		t.Fatal(err)
	}
}

func TestClusterWithoutBinary(t *testing.T) {
	t.Setenv("HERALD_KUBE", "")
	t.Chdir(t.TempDir())
	_, err := controlplane.KubeBinary()
	if err == nil || !strings.Contains(err.Error(), "make lab-bin") {
		t.Errorf("got %v, want it to say how to build the binary", err)
	}
}

// TestClusterProgramEndsEarly has etcd fail, wherever it is taken from.
func TestClusterProgramEndsEarly(t *testing.T) {
	assets := t.TempDir()
	failing := filepath.Join(assets, "etcd")
	if err := os.WriteFile(failing, []byte("#!/bin/sh\necho $0 $1: no such luck >&2; exit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, binary, assets, want string
	}{
		{"herald-kube", failing, "", failing + " etcd: no such luck"},
		{"envtest", "", assets, failing + " --data-dir=etcd: no such luck"},
		{"assets without etcd", failing, t.TempDir(), failing + " etcd: no such luck"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("HERALD_KUBE", tt.binary)
			t.Setenv("KUBEBUILDER_ASSETS", tt.assets)
			_, err := controlplane.Start(t.Context(), controlplane.Options{
				Dir:        t.TempDir(),
				ListenAddr: netip.MustParseAddr("127.0.0.1"),
			})
			if want := "start cluster: etcd ended: exit status 3\n\t" + tt.want; err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

// newProxyNode makes a network namespace with a link to this one, and returns it
// with the address of this end. A backend's address is on its loopback link.
func newProxyNode(t *testing.T) (lab.Namespace, netip.Addr) {
	t.Helper()
	// Two processes may run this at the same time, each with a /30 of the network
	// that RFC 2544, Section C.2.2 sets apart for tests.
	pid := os.Getpid()
	ns, link := fmt.Sprintf("hc%d", pid), fmt.Sprintf("hc%d", pid)
	third, fourth := byte(pid>>6), byte(pid<<2)
	here := netip.AddrFrom4([4]byte{198, 18, third, fourth + 1})
	there := netip.AddrFrom4([4]byte{198, 18, third, fourth + 2})
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	run("netns", "add", ns)
	t.Cleanup(func() { run("netns", "del", ns) }) // and the link with it
	run("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", ns)
	run("address", "add", here.String()+"/30", "dev", link)
	run("link", "set", link, "up")
	run("-n", ns, "address", "add", there.String()+"/30", "dev", "eth0")
	run("-n", ns, "address", "add", "10.244.1.10/32", "dev", "lo")
	run("-n", ns, "link", "set", "eth0", "up")
	run("-n", ns, "link", "set", "lo", "up")
	run("-n", ns, "route", "add", "default", "via", here.String())
	return lab.Namespace{Name: ns}, here
}

// programsIn lists the running programs whose working directory is dir.
func programsIn(t *testing.T, dir string) []string {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, link := range links {
		// Processes end while they are being listed.
		if cwd, err := os.Readlink(link); err == nil && cwd == dir {
			line, _ := os.ReadFile(filepath.Join(filepath.Dir(link), "cmdline"))
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

func addrs(texts ...string) []netip.Addr {
	var a []netip.Addr
	for _, text := range texts {
		a = append(a, netip.MustParseAddr(text))
	}
	return a
}

func prefixes(texts ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, text := range texts {
		p = append(p, netip.MustParsePrefix(text))
	}
	return p
}
