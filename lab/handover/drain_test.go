// SPDX-License-Identifier: Apache-2.0

package handover_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
)

// A draining is a test of nodes that drain. All of them announce again at its end.
type draining struct{ *e2e.Test }

func newDraining(t *testing.T) draining {
	e := draining{e2e.New(t)}
	e.AgentPods()
	t.Cleanup(func() {
		for _, n := range e.Nodes {
			heraldctlCleanup(t, e.Test, n)
		}
	})
	return e
}

// ctl runs heraldctl, which is to exit with a status and to say these lines.
func (e draining) ctl(want int, args []string, lines ...string) {
	e.T.Helper()
	code, out := heraldctl(e.Test, args...)
	e.says(args, code, want, out, lines...)
}

// says compares what heraldctl has come to.
func (e draining) says(args []string, code, want int, out string, lines ...string) {
	e.T.Helper()
	if code != want {
		e.T.Errorf("heraldctl %v exits with %d, want %d: %s", args, code, want, out)
	}
	var said []string // columns are as wide as what is in them
	for l := range strings.Lines(out) {
		said = append(said, strings.Join(strings.Fields(l), " "))
	}
	for _, l := range lines {
		if !slices.Contains(said, l) {
			e.T.Errorf("heraldctl %v does not say %q:\n%s", args, l, out)
		}
	}
}

// annotate changes the annotation that drains a node, by hand; nil removes it.
func (e draining) annotate(n *lab.Node, value any) {
	e.T.Helper()
	e.patch(n, map[string]any{"metadata": map[string]any{"annotations": map[string]any{cluster.AnnotationDrain: value}}})
}

func (e draining) patch(n *lab.Node, patch any) {
	e.T.Helper()
	body, err := json.Marshal(patch)
	if err != nil {
		e.T.Fatal(err)
	}
	_, err = e.Cluster.Client().CoreV1().Nodes().Patch(e.T.Context(), n.Name, types.StrategicMergePatchType, body, metav1.PatchOptions{})
	if err != nil {
		e.T.Fatal(err)
	}
}

// asked waits until a node asks both GoBGPs for other paths.
func (e draining) asked(p netip.Prefix, n *lab.Node) {
	e.T.Helper()
	e.Eventually("graceful shutdown", func(ctx context.Context) error {
		for _, g := range []*lab.GoBGP{e.IBGP, e.EBGP} {
			paths, err := g.Paths(ctx)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(paths, func(path lab.Path) bool { return path.Prefix == p && path.NextHop == e2e.LANAddr(n, p) })
			if i < 0 {
				return fmt.Errorf("no path to %s from %s", p, n.Name)
			}
			if got := e2e.AttributesOf(paths[i]); !slices.Contains(got.Communities, "65535:0") || got.LocalPref != 0 {
				return fmt.Errorf("path to %s from %s has %+v", p, n.Name, got)
			}
		}
		return nil
	})
}

// A node that is drained under load loses no request: routers are asked to prefer
// the others, and have moved, before its routes go. Its sessions stay. Undrained,
// it announces again.
func TestBGPDrain(t *testing.T) {
	e := newDraining(t)
	e.Configure(e2e.AllPeers + `
address-pools:
- {name: p, protocol: bgp, addresses: [203.0.113.240/28, "fd00:d::/120"]}
`)
	drained, others := e.Nodes[0], e.Nodes[1:]
	local := controlplane.ServiceOptions{Namespace: e.Namespace, Name: "local", Local: true}
	web, six, here := e.Expose(controlplane.ServiceOptions{Name: "web"})[0], e.Expose(controlplane.ServiceOptions{Name: "six", Families: []corev1.IPFamily{e2e.IPv6}})[0],
		e.Expose(local, drained, others[0])[0]
	service := func(what, name string, a netip.Addr) string {
		return fmt.Sprintf("%s %s/%s %s bgp", what, e.Namespace, name, a)
	}
	everywhere := []netip.Prefix{e2e.Route(web), e2e.Route(six)}
	for _, p := range everywhere {
		e.Announced(p, e.Nodes...)
	}
	e.Announced(e2e.Route(here), drained, others[0])
	connections := e.Connections()
	stop, stopSix, stopLocal := e.Load(web), e.LoadOf(10, six), e.LoadOf(10, here, drained, others[0])

	start := time.Now()
	type result struct {
		code int
		out  string
		took time.Duration
	}
	args := []string{"drain", drained.Name, "--wait"}
	finished := make(chan result, 1)
	go func() {
		code, out := heraldctl(e.Test, args...)
		finished <- result{code, out, time.Since(start)}
	}()
	for _, p := range append(everywhere, e2e.Route(here)) {
		e.asked(p, drained)
	}
	asked := time.Since(start)
	for _, p := range everywhere { // r1 does as it is asked
		e.InKernel(p, others)
	}
	e.InKernel(e2e.Route(here), others[:1])
	moved := time.Since(start)
	for _, p := range everywhere { // while the node still announces
		e.Learned(e.IBGP, p, e.Nodes)
	}
	e.Learned(e.IBGP, e2e.Route(here), e.Nodes[:2])
	for _, p := range everywhere {
		e.Learned(e.IBGP, p, others)
	}
	e.Learned(e.IBGP, e2e.Route(here), others[:1])
	withdrawn := time.Since(start)
	t.Logf("asked for other paths after %v, r1 has moved after %v, withdrawn after %v",
		asked.Round(time.Millisecond), moved.Round(time.Millisecond), withdrawn.Round(time.Millisecond))
	if withdrawn < cluster.DefaultDrainHold {
		t.Errorf("want the routes withdrawn %v after routers were asked", cluster.DefaultDrainHold)
	}
	r := <-finished
	e.says(args, r.code, 0, r.out, "node "+drained.Name+" announces nothing any more")
	if r.took < cluster.DefaultDrainHold {
		t.Errorf("heraldctl drain --wait returns after %v", r.took)
	}
	stopSix()
	stopLocal()

	// The last one stays, of a Service of which it is the only one with endpoints.
	if err := e.SetBackends(t.Context(), local, others[0]); err != nil {
		t.Fatal(err)
	}
	e.ctl(1, []string{"drain", others[0].Name, "--wait", "--hold=2s"}, service("handed over", "web", web), service("handed over", "six", six),
		service("kept", "local", here)+" the node drains, but no other announces the address")
	e.Announced(e2e.Route(web), others[1])
	e.Announced(e2e.Route(here), others[0])
	e.ctl(0, []string{"drain", others[0].Name, "--wait", "--force", "--hold=2s"}, service("withdrawn", "local", here), "node "+others[0].Name+" announces nothing any more")
	e.Withdrawn(e2e.Route(here))

	// And the last of nodes that all drain.
	e.ctl(1, []string{"drain", others[1].Name, "--wait", "--hold=2s"},
		"node "+others[1].Name+" still announces what no other node does: 2 of its addresses")
	e.LaterPass()
	e.Learned(e.IBGP, e2e.Route(web), others[1:])

	// Others are back: it stays until routers have followed them, as long as it was
	// told to.
	e.ctl(0, []string{"drain", others[1].Name, "--hold=5s"})
	e.ctl(0, []string{"undrain", drained.Name})
	e.InKernel(e2e.Route(web), e.Nodes[:1])
	e.Stays(2*time.Second, func() { e.Learned(e.IBGP, e2e.Route(web), []*lab.Node{drained, others[1]}) })
	e.Learned(e.IBGP, e2e.Route(web), e.Nodes[:1])

	for _, n := range others {
		e.ctl(0, []string{"undrain", n.Name})
	}
	for _, p := range everywhere {
		e.Announced(p, e.Nodes...)
	}
	stop()
	e.drainsAlone(drained, others, e2e.Route(web))

	_, table := heraldctl(e.Test, "sessions", drained.Name)
	for _, peer := range []string{"10.10.0.254", "10.10.0.200", "10.10.0.201", "fd00:10:10::254", "fd00:10:10::200", "fd00:10:10::201"} {
		if i := strings.Index(table, "  "+peer+" "); i < 0 || !strings.Contains(strings.SplitN(table[i:], "\n", 2)[0], "  Established  ") {
			t.Errorf("heraldctl sessions does not show that with %s:\n%s", peer, table)
		}
	}
	for session, n := range connections {
		if got := e.Connections()[session]; got != n {
			t.Errorf("session %s was established %d times, then %d", session, n, got)
		}
	}
}

// drainsAlone drains a node while the agents of the others do not run: that the
// cluster has Nodes which might announce the address does not count.
func (e draining) drainsAlone(n *lab.Node, others []*lab.Node, p netip.Prefix) {
	e.T.Helper()
	for _, o := range others {
		e.Agent(o).Stop()
	}
	e.members(1, n)
	e.ctl(1, []string{"drain", n.Name, "--wait", "--hold=1s"}, "node "+n.Name+" still announces what no other node does: 2 of its addresses")
	e.Learned(e.IBGP, p, e.Nodes) // FRR goes on without an agent
	for _, o := range others {
		if err := e.Agent(o).Start(); err != nil {
			e.T.Fatal(err)
		}
	}
	e.Learned(e.IBGP, p, others)
	e.ctl(0, []string{"undrain", n.Name})
	e.Announced(p, e.Nodes...)
	e.members(len(e.Nodes), e.Nodes...)
}

// members waits until the agents of these nodes know of so many that are alive.
func (e draining) members(want int, nodes ...*lab.Node) {
	e.T.Helper()
	for _, n := range nodes {
		e.Metric(e.Agent(n), fmt.Sprintf("herald_members %d", want))
	}
}

// What a node answers for on layer 2 it hands over when it drains, without losing
// a request, whether heraldctl or a hand has annotated the Node. Cordoning a node
// is no drain, nor is an annotation that means nothing.
func TestLayer2Drain(t *testing.T) {
	e := newDraining(t)
	w := e.Neighbors()
	e.Configure(e2e.Layer2Pools(`
- {name: lan, protocol: layer2, addresses: [10.10.0.232/30]}
- {name: p, protocol: bgp, addresses: [203.0.113.240/28]}
`))
	a := e.Expose(controlplane.ServiceOptions{Name: "web", Annotations: map[string]string{"metallb.io/address-pool": "lan"}})[0]
	b := e.Expose(controlplane.ServiceOptions{Name: "routed", Annotations: map[string]string{"metallb.io/address-pool": "p"}})[0]
	p := e2e.Route(b)
	e.Announced(p, e.Nodes...)
	owner := e.Owner(w, a)
	steady := func(n *lab.Node) {
		t.Helper()
		for _, d := range e.report(t.Context(), n).Decisions {
			if d.Reason == status.NodeDraining || d.Last {
				t.Errorf("cordoned, %s says %+v", n.Name, d)
			}
		}
		e.Owner(w, a)
		for _, path := range e.Learned(e.IBGP, p, e.Nodes) {
			if slices.Contains(e2e.AttributesOf(path).Communities, "65535:0") {
				t.Errorf("cordoned, %s asks for other paths", path.Peer)
			}
		}
	}
	stop := e.LoadFrom(e.LANClient, a)

	start := time.Now()
	e.patch(owner, map[string]any{"spec": map[string]any{"unschedulable": true}})
	e.annotate(owner, "true") // the agent has seen the Node once it reports this
	e.NodeEvent(owner, start, "Warning "+reconcile.EventDrainInvalid)
	e.LaterPass()
	steady(owner)
	e.patch(owner, map[string]any{"spec": map[string]any{"unschedulable": nil}})

	e.annotate(owner, time.Now().Add(-5*time.Minute).UTC().Format(time.RFC3339)) // by a slow clock
	e.handedOver(w, a, owner)
	e.asked(p, owner)
	e.Learned(e.IBGP, p, e.Nodes)
	e.annotate(owner, nil)
	e.undrained(owner)
	e.Eventually("routes as before", func(context.Context) error {
		for _, path := range e.Learned(e.IBGP, p, e.Nodes) {
			if slices.Contains(e2e.AttributesOf(path).Communities, "65535:0") {
				return fmt.Errorf("%s asks for other paths", path.Peer)
			}
		}
		return nil
	})
	owner = e.Owner(w, a)
	e.ctl(0, []string{"drain", owner.Name, "--wait", "--hold=1s"},
		fmt.Sprintf("handed over %s/web %s layer2", e.Namespace, a),
		fmt.Sprintf("handed over %s/routed %s bgp", e.Namespace, b))
	e.handedOver(w, a, owner)
	stop()

	// The last one stays, unless it has to go.
	others := slices.DeleteFunc(slices.Clone(e.Nodes), func(n *lab.Node) bool { return n == owner })
	e.ctl(0, []string{"drain", others[0].Name, "--wait", "--hold=1s"})
	e.ctl(1, []string{"drain", others[1].Name, "--wait", "--hold=1s"})
	e.LaterPass()
	e.Owner(w, a)
	for _, n := range e.Nodes {
		e.ctl(0, []string{"drain", n.Name, "--wait", "--force"}, "node "+n.Name+" announces nothing any more")
	}
	e.Unanswered(w, a)
	for _, n := range e.Nodes {
		e.ctl(0, []string{"undrain", n.Name})
	}
	e.undrained(e.Nodes...)
	e.Owner(w, a)
	e.Announced(p, e.Nodes...)
}

// report returns what the agent of a node says.
func (e draining) report(ctx context.Context, n *lab.Node) status.Report {
	e.T.Helper()
	r, err := e.AgentReport(ctx, n)
	if err != nil {
		e.T.Fatalf("status of %s: %v", n.Name, err)
	}
	return r
}

// undrained waits until the agents of these nodes have seen that they drain no more.
func (e draining) undrained(nodes ...*lab.Node) {
	e.T.Helper()
	for _, n := range nodes {
		e.Eventually(n.Name+" undrained", func(ctx context.Context) error {
			if d := e.report(ctx, n).Drain; d != nil {
				return fmt.Errorf("it says %+v", *d)
			}
			return nil
		})
	}
}

// handedOver waits until another node than one answers for an address.
func (e draining) handedOver(w *lab.NeighborWatch, a netip.Addr, from *lab.Node) {
	e.T.Helper()
	e.Eventually(a.String()+" handed over", func(context.Context) error {
		if e.Owner(w, a) == from {
			return fmt.Errorf("%s still answers", from.Name)
		}
		return nil
	})
}

// heraldctl runs a command line as the cluster's administrator.
func heraldctl(e *e2e.Test, args ...string) (code int, out string) { return e.Heraldctl(args...) }

// heraldctlCleanup has a node announce again, whatever became of the test.
func heraldctlCleanup(t *testing.T, e *e2e.Test, n *lab.Node) {
	out, err := exec.Command("../../bin/heraldctl", "undrain", n.Name, "--kubeconfig="+e.Cluster.Kubeconfig(controlplane.Admin)).CombinedOutput()
	if err != nil {
		t.Errorf("undrain %s: %v: %s", n.Name, err, strings.TrimSpace(string(out)))
	}
}
