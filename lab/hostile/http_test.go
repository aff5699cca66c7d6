// SPDX-License-Identifier: Apache-2.0

package hostile_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// Ports of Herald's pages, as the manifests have them.
const (
	metricsPort = "7472"
	frrPort     = "7473"
)

// maxMemory is what agent and controller may take under attack.
const maxMemory = 100 << 20

// dial opens a connection, from inside a machine or from where the controllers run.
type dial func(ctx context.Context, network, address string) (net.Conn, error)

// client returns a client that verifies no certificate.
func (d dial) client() *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DialContext: d, DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
}

// get asks for a page, with a token if there is one.
func (d dial) get(ctx context.Context, url, token string) (int, string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := d.client().Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(page), err
}

// slowReaders ask for a page many times and read nothing, until the test ends. They
// return a function that counts the connections that are still open.
func slowReaders(t *testing.T, d dial, address, path string, n int) (open func() int) {
	t.Helper()
	var all []syscall.Conn
	for range n {
		c, err := d(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		// More than the kernel buffers.
		fmt.Fprint(c, strings.Repeat(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, address), 40))
		all = append(all, c.(syscall.Conn))
	}
	return func() (count int) {
		for _, c := range all {
			raw, err := c.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			err = raw.Control(func(fd uintptr) {
				info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
				if err == nil && info.State == unix.BPF_TCP_ESTABLISHED {
					count++
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return count
	}
}

// Three hundred readers who read nothing take little memory, and neither probes nor other
// readers nor requests to Services wait for them.
func TestSlowReaders(t *testing.T) {
	const readers, services, connections = 300, 100, 64
	e := e2e.NewInPods(t)
	e.Configure(e2e.BGPPools("- {name: p, protocol: bgp, addresses: [10.230.0.0/22]}\n"))
	stop := e.Load(e.Expose(controlplane.ServiceOptions{Name: "web"})[0])
	var g errgroup.Group
	g.SetLimit(8)
	for i := range services {
		g.Go(func() error {
			_, err := e.Cluster.CreateService(t.Context(), controlplane.ServiceOptions{
				Namespace: e.Namespace, Name: fmt.Sprintf("s%d", i), Backends: "web", NoNodePorts: true,
			})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	agent, controller := e.Agents[0], e.Controllers[0]
	e.Eventually("the agent's status has all Services", func(ctx context.Context) error {
		page, err := agent.Get(ctx, "/status")
		if err == nil && strings.Count(page, e.Namespace+"/s") < services {
			err = fmt.Errorf("%d of %d", strings.Count(page, e.Namespace+"/s"), services)
		}
		return err
	})
	attacks := []struct {
		victim  *lab.Daemon
		from    dial
		address string
		health  string
		pages   []string
	}{
		{agent, e.Client.Dial, net.JoinHostPort(e.Nodes[0].Addr4.String(), metricsPort), "/healthz", []string{"/status", "/metrics"}},
		{&e.Nodes[0].Sidecar.Daemon, e.Client.Dial, net.JoinHostPort(e.Nodes[0].Addr4.String(), frrPort), "/livez", []string{"/metrics"}},
		{controller, new(net.Dialer).DialContext, net.JoinHostPort(e.Management.Addr().String(), metricsPort), "/healthz", []string{"/status", "/metrics"}},
	}
	for _, a := range attacks {
		before, err := a.victim.Memory()
		if err != nil {
			t.Fatal(err)
		}
		open := slowReaders(t, a.from, a.address, a.pages[0], readers)
		for range 3 {
			for _, path := range append([]string{a.health, "/readyz"}, a.pages...) {
				if _, err := a.victim.Get(t.Context(), path); err != nil {
					t.Errorf("%s: %v", a.victim.Name, err)
				}
			}
			// The attackers' neighbour, with the same address.
			if code, _, err := a.from.get(t.Context(), "http://"+a.address+a.pages[0], ""); err != nil || code != http.StatusOK {
				t.Errorf("%s: a reader beside the attackers: %d %v", a.victim.Name, code, err)
			}
		}
		after, err := a.victim.Memory()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s with %d slow readers: %.1f MB before, %.1f MB after", a.victim.Name, readers, float64(before)/1e6, float64(after)/1e6)
		e.Eventually("connections to "+a.victim.Name+" are few", func(context.Context) error {
			if n := open(); n > connections {
				return fmt.Errorf("%d of %d are open, want %d", n, readers, connections)
			}
			return nil
		})
		if after > maxMemory {
			t.Errorf("%s takes %d MB", a.victim.Name, after>>20)
		}
	}
	stop()
}

// token returns a token of a service account in Herald's namespace, which it makes.
func token(e *e2e.Test, name string, rights ...string) string {
	e.T.Helper()
	manifests := fmt.Sprintf("{apiVersion: v1, kind: ServiceAccount, metadata: {namespace: %s, name: %s}}\n", lab.HeraldNamespace, name)
	for _, r := range rights {
		manifests += "---\n" + fmt.Sprintf(`apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: %[2]s}
subjects: [{kind: ServiceAccount, name: %[1]s, namespace: %[3]s}]
`, name, r, lab.HeraldNamespace)
	}
	if err := e.Cluster.Apply(e.T.Context(), manifests); err != nil {
		e.T.Fatal(err)
	}
	r, err := e.Cluster.Client().CoreV1().ServiceAccounts(lab.HeraldNamespace).CreateToken(e.T.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		e.T.Fatal(err)
	}
	return r.Status.Token
}

// Secure metrics are for who may get them, of the controller, an agent and the FRR
// container, which asks the agent. Probes stay in plain HTTP.
func TestSecureMetrics(t *testing.T) {
	e := e2e.NewInPods(t)
	root, err := lab.Root()
	if err != nil {
		t.Fatal(err)
	}
	rbac, err := os.ReadFile(filepath.Join(root, "deploy/secure-metrics/rbac.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Cluster.Apply(t.Context(), string(rbac)); err != nil {
		t.Fatal(err)
	}
	n := e.Nodes[0]
	agent, frr, controller := e.Agent(n), &n.Sidecar.Daemon, e.Controllers[0]
	local := dial(new(net.Dialer).DialContext)
	daemons := []struct {
		*lab.Daemon
		from    dial
		address string
		health  string
	}{
		{agent, e.Client.Dial, net.JoinHostPort(n.Addr4.String(), metricsPort), "/healthz"},
		{frr, e.Client.Dial, net.JoinHostPort(n.Addr4.String(), frrPort), "/livez"},
		{controller, local, net.JoinHostPort(e.Management.Addr().String(), metricsPort), "/healthz"},
	}
	secure := func(args ...string) {
		t.Helper()
		for _, d := range daemons {
			d.Args = args
			if err := d.Restart(); err != nil {
				t.Fatal(err)
			}
		}
		for _, d := range daemons {
			e.Eventually(d.Name+" is alive", func(ctx context.Context) error {
				_, err := d.Get(ctx, d.health)
				return err
			})
		}
	}
	t.Cleanup(func() {
		for _, d := range daemons {
			d.Args = nil
			if err := d.Restart(); err != nil {
				t.Error(err)
			}
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := n.Sidecar.Ready(ctx); err != nil {
			t.Error(err)
		}
	})
	secure("--secure-metrics")
	reader, other := token(e, "reader", "herald-metrics-reader"), token(e, "other")
	for _, d := range daemons {
		e.Eventually(d.Name+" lets a reader in", func(ctx context.Context) error {
			code, page, err := d.from.get(ctx, "https://"+d.address+"/metrics", reader)
			if err == nil && code != http.StatusOK {
				err = fmt.Errorf("%d %s", code, page)
			}
			return err
		})
		for _, tt := range []struct {
			what, url, token string
			want             int
		}{
			{"no token", "https://" + d.address + "/metrics", "", http.StatusUnauthorized},
			{"a token of nobody", "https://" + d.address + "/metrics", "nobody", http.StatusUnauthorized},
			{"not allowed", "https://" + d.address + "/metrics", other, http.StatusForbidden},
			{"plain HTTP", "http://" + d.address + "/metrics", reader, http.StatusUpgradeRequired},
			{"a probe", "http://" + d.address + d.health, "", http.StatusOK},
		} {
			if code, page, err := d.from.get(t.Context(), tt.url, tt.token); err != nil || code != tt.want {
				t.Errorf("%s: %s: %d %s %v, want %d", d.Name, tt.what, code, page, err, tt.want)
			}
		}
	}
	// The agent is away: metrics of FRR go on for who could read them before.
	if err := agent.Kill(); err != nil {
		t.Fatal(err)
	}
	if code, page, err := daemons[1].from.get(t.Context(), "https://"+daemons[1].address+"/metrics", reader); err != nil || code != http.StatusOK {
		t.Errorf("metrics of FRR without an agent: %d %s %v", code, page, err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
}
