// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/reconcile"
)

// A node that is drained under load loses no request: routers are asked to prefer
// the others before its route goes. Its sessions stay. Undrained, it announces
// again.
func TestBGPDrain(t *testing.T) {
	e := newE2E(t)
	e.configure(allPeers + `
address-pools:
- {name: p, protocol: bgp, addresses: [203.0.113.240/28]}
`)
	addr := e.expose(lab.ServiceOptions{Name: "web"})[0]
	p := route(addr)
	e.inKernel(p, e.Nodes)
	e.learned(e.ibgp, p, e.Nodes)
	e.agentPods()
	heraldctl := func(want int, args ...string) string {
		t.Helper()
		code, out := e.heraldctl(args...)
		if code != want {
			t.Errorf("heraldctl %v exits with %d, want %d: %s", args, code, want, out)
		}
		return out
	}
	says := func(out string, lines ...string) {
		t.Helper()
		for _, l := range lines {
			if !strings.Contains(out, l+"\n") {
				t.Errorf("heraldctl does not say %q:\n%s", l, out)
			}
		}
	}
	service := fmt.Sprintf("%s/web  %s  bgp", e.namespace, addr)
	drained, others := e.Nodes[0], e.Nodes[1:]
	t.Cleanup(func() { heraldctlCleanup(t, e, drained) })
	connections := e.connections()
	stop := e.load(addr)

	start := time.Now()
	waited := make(chan string, 1)
	go func() {
		code, out := e.heraldctl("drain", drained.Name, "--wait")
		waited <- fmt.Sprintf("%sexit status %d\n", out, code)
	}()
	e.eventually("graceful shutdown", func(ctx context.Context) error {
		for g, pref := range map[*lab.GoBGP]uint32{e.ibgp: 0, e.ebgp: 0} {
			paths, err := g.Paths(ctx)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(paths, func(path lab.Path) bool { return path.Prefix == p && path.Peer == drained.Addr4 })
			if i < 0 {
				return fmt.Errorf("no path from %s", drained.Name)
			}
			if got := attributesOf(paths[i]); !slices.Contains(got.Communities, "65535:0") || got.LocalPref != pref {
				return fmt.Errorf("path from %s has %+v", drained.Name, got)
			}
		}
		return nil
	})
	asked := time.Since(start)
	e.inKernel(p, others) // r1 does as it is asked
	e.learned(e.ibgp, p, others)
	withdrawn := time.Since(start)
	t.Logf("other paths preferred after %v, withdrawn after %v", asked.Round(time.Millisecond), withdrawn.Round(time.Millisecond))
	if withdrawn < reconcile.DefaultDrainHold-time.Second || asked > 3*time.Second {
		t.Errorf("want the routes withdrawn %v after routers were asked", reconcile.DefaultDrainHold)
	}

	says(<-waited, "handed over  "+service, "node "+drained.Name+" announces nothing any more", "exit status 0")
	if took := time.Since(start); took < reconcile.DefaultDrainHold-time.Second {
		t.Errorf("heraldctl drain --wait returns after %v", took)
	}

	// The last one stays.
	heraldctl(0, "drain", others[0].Name)
	t.Cleanup(func() { heraldctlCleanup(t, e, others[0]) })
	e.inKernel(p, others[1:])
	e.learned(e.ibgp, p, others[1:])
	t.Cleanup(func() { heraldctlCleanup(t, e, others[1]) })
	go func() {
		code, out := e.heraldctl("drain", others[1].Name, "--wait")
		waited <- fmt.Sprintf("%sexit status %d\n", out, code)
	}()
	e.stays(reconcile.DefaultDrainHold+2*time.Second, func() { e.learned(e.ibgp, p, others[1:]) })
	says(<-waited, "kept  "+service+"  the node drains, but no other announces the address",
		"node "+others[1].Name+" still announces what no other node does: 1 of its addresses", "exit status 1")

	// Others are back: it stays until routers have followed them.
	heraldctl(0, "undrain", drained.Name)
	e.inKernel(p, e.Nodes[:1])
	e.stays(reconcile.DefaultDrainHold-3*time.Second, func() { e.learned(e.ibgp, p, []*lab.Node{drained, others[1]}) })
	e.learned(e.ibgp, p, e.Nodes[:1])

	for _, n := range others {
		heraldctl(0, "undrain", n.Name)
	}
	e.inKernel(p, e.Nodes)
	stop()
	table := heraldctl(0, "sessions", drained.Name)
	for _, peer := range []string{"10.10.0.254", "10.10.0.200", "10.10.0.201", "fd00:10:10::254", "fd00:10:10::200", "fd00:10:10::201"} {
		if i := strings.Index(table, "  "+peer+" "); i < 0 || !strings.Contains(strings.SplitN(table[i:], "\n", 2)[0], "  Established  ") {
			t.Errorf("heraldctl sessions does not show that with %s:\n%s", peer, table)
		}
	}
	for session, n := range connections {
		if got := e.connections()[session]; got != n {
			t.Errorf("session %s was established %d times, then %d", session, n, got)
		}
	}
}

// heraldctl runs a command line as the cluster's administrator, and returns its
// exit status and all that it printed.
func (e *e2e) heraldctl(args ...string) (code int, out string) {
	text, err := exec.Command("../bin/heraldctl", append(args, "--kubeconfig="+e.Cluster.Kubeconfig(lab.Admin))...).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, string(text)
	case errors.As(err, &exit):
		return exit.ExitCode(), string(text)
	}
	return -1, err.Error()
}

// agentPods makes the agents pods of the cluster until the test ends, which the
// API server can ask.
func (e *e2e) agentPods() {
	e.t.Helper()
	pods := e.Cluster.Client().CoreV1().Pods(lab.HeraldNamespace)
	for _, n := range e.Nodes {
		pod, err := pods.Create(e.t.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "agent-" + n.Name, Labels: map[string]string{"app.kubernetes.io/component": "agent"}},
			Spec: corev1.PodSpec{
				NodeName: n.Name, HostNetwork: true, ServiceAccountName: "herald-agent",
				Containers: []corev1.Container{{Name: "agent", Image: "herald-agent"}},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			e.t.Fatal(err)
		}
		e.t.Cleanup(func() {
			if err := pods.Delete(context.Background(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
				e.t.Error(err)
			}
		})
		pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: n.Management.String(), PodIPs: []corev1.PodIP{{IP: n.Management.String()}}}
		if _, err := pods.UpdateStatus(e.t.Context(), pod, metav1.UpdateOptions{}); err != nil {
			e.t.Fatal(err)
		}
	}
}

// stays looks again and again, for a time, whether something is still so.
func (e *e2e) stays(d time.Duration, check func()) {
	e.t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
		check()
	}
}

// heraldctlCleanup has a node announce again, whatever became of the test.
func heraldctlCleanup(t *testing.T, e *e2e, n *lab.Node) {
	out, err := exec.Command("../bin/heraldctl", "undrain", n.Name, "--kubeconfig="+e.Cluster.Kubeconfig(lab.Admin)).CombinedOutput()
	if err != nil {
		t.Errorf("undrain %s: %v: %s", n.Name, err, strings.TrimSpace(string(out)))
	}
}
