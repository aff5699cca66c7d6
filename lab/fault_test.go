// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/lab"
)

// load sends 100 requests a second to the address, from behind r1, until the
// test calls the function that it returns; that fails the test if one was lost.
func (e *e2e) load(a netip.Addr) (stop func()) {
	e.t.Helper()
	return e.loadOf(100, a)
}

// loadOf is load of so many requests a second, on a Service that exactly these nodes
// answer for, no nodes meaning all.
func (e *e2e) loadOf(perSecond int, a netip.Addr, nodes ...*lab.Node) (stop func()) {
	e.t.Helper()
	e.served(a)
	e.reached(a, nodes...) // the path works, and neighbour entries are there
	l := e.Client.StartLoad(lab.LoadOptions{URL: "http://" + netip.AddrPortFrom(a, 80).String() + "/", PerSecond: perSecond})
	return func() {
		e.t.Helper()
		r := l.Stop()
		e.t.Log("load:", r)
		if r.Lost > 0 || r.OK == 0 {
			e.t.Errorf("%d of %d requests to %s were lost, sent from %s to %s, the last because of: %v",
				r.Lost, r.Sent, a, r.FirstLoss.Format(time.StampMilli), r.LastLoss.Format(time.StampMilli), r.LastError)
		}
	}
}

// served waits until every node's kube-proxy knows port 80 of an address. It is
// up to a second behind, and whatever comes to a node before goes back to the
// router, in circles.
func (e *e2e) served(a netip.Addr) {
	e.t.Helper()
	family := "ip"
	if a.Is6() {
		family = "ip6"
	}
	for _, n := range e.Nodes {
		e.eventually("kube-proxy of "+n.Name, func(ctx context.Context) error {
			rules, err := n.Run(ctx, "nft", "list table "+family+" kube-proxy")
			if err == nil && !strings.Contains(rules, a.String()+" . tcp . 80 ") {
				err = fmt.Errorf("no rule for port 80 of %s", a)
			}
			return err
		})
	}
}

// A killed agent leaves FRR's sessions and routes alone, and the next one
// carries on.
func TestFaultAgentKilled(t *testing.T) {
	e := newE2E(t)
	e.configure(bgpPools("- {name: p, protocol: bgp, addresses: [192.0.2.192/28]}"))
	addr := e.expose(lab.ServiceOptions{Name: "web"})[0]
	e.announced(route(addr))
	before := e.connections()
	since := time.Now()
	stop := e.load(addr)
	for _, a := range e.Agents {
		if err := a.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := a.Start(); err != nil {
			t.Fatal(err)
		}
	}
	// The new agents are at work when a new Service's route is there.
	second := e.expose(lab.ServiceOptions{Name: "second"})[0]
	e.announced(route(second))
	for _, a := range e.Agents {
		if err := a.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	third := e.expose(lab.ServiceOptions{Name: "third"})[0]
	e.announced(route(third))
	stop()
	for _, c := range e.routes.History(route(addr)) {
		if c.Time.After(since) {
			t.Errorf("r1's route to %s changed: %v", addr, c)
		}
	}
	if diff := cmp.Diff(before, e.connections()); diff != "" {
		t.Errorf("sessions were reset (-before +after):\n%s", diff)
	}
}

// FRR that crashes and starts again has its sessions and routes back within
// five seconds.
func TestFaultFRRKilled(t *testing.T) { eachVersion(t, testFaultFRRKilled) }

func testFaultFRRKilled(t *testing.T, v lab.Version) {
	e := newE2E(t)
	e.configure(bgpPools("- {name: p, protocol: bgp, addresses: [192.0.2.208/28]}"))
	addr := e.expose(lab.ServiceOptions{Name: "web"})[0]
	e.announced(route(addr))
	n, others := e.nodeWith(v), e.othersThan(v)
	for _, test := range []struct {
		daemons []string
		start   func(context.Context) error
	}{
		{[]string{"bgpd"}, n.FRR.StartEmpty},
		{nil, n.FRR.StartEmpty},
		// While the agent applies its configuration, FRR's own start script loads
		// the same from frr.conf.
		{[]string{"bgpd"}, n.FRR.Start},
		{nil, n.FRR.Start},
	} {
		daemons := test.daemons
		if err := n.FRR.Kill(daemons...); err != nil {
			t.Fatal(err)
		}
		e.inKernel(route(addr), others)
		start := time.Now()
		if err := test.start(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.inKernel(route(addr), e.Nodes)
		took := time.Since(start)
		t.Logf("killed %v: the route via %s is back after %v", daemons, n.Name, took.Round(time.Millisecond))
		if took > 5*time.Second {
			t.Errorf("killed %v: the route via %s took %v to be back, want 5 s", daemons, n.Name, took)
		}
		e.announced(route(addr))
		// A route of this very moment is withdrawn like any other.
		brief := e.expose(lab.ServiceOptions{Name: "brief"})[0]
		e.announced(route(brief))
		if err := e.Cluster.DeleteService(t.Context(), e.namespace, "brief"); err != nil {
			t.Fatal(err)
		}
		e.withdrawn(route(brief))
	}
}

// FRR that starts while there is no agent has its routes from frr.conf, and an
// agent that comes later leaves its sessions alone.
func TestFaultFRRWithoutAgent(t *testing.T) { eachVersion(t, testFaultFRRWithoutAgent) }

func testFaultFRRWithoutAgent(t *testing.T, v lab.Version) {
	e := newE2E(t)
	e.configure(bgpPools("- {name: p, protocol: bgp, addresses: [192.0.2.216/29]}"))
	addr := e.expose(lab.ServiceOptions{Name: "web"})[0]
	e.announced(route(addr))
	n, others := e.nodeWith(v), e.othersThan(v)
	if err := e.Agent(n).Kill(); err != nil {
		t.Fatal(err)
	}
	if err := n.FRR.Kill(); err != nil {
		t.Fatal(err)
	}
	e.inKernel(route(addr), others)
	start := time.Now()
	if err := n.FRR.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.announced(route(addr))
	t.Logf("the route via %s is back after %v", n.Name, time.Since(start).Round(time.Millisecond))
	before := e.connections()
	if err := e.Agent(n).Start(); err != nil {
		t.Fatal(err)
	}
	second := e.expose(lab.ServiceOptions{Name: "second"})[0]
	e.announced(route(second))
	if diff := cmp.Diff(before, e.connections()); diff != "" {
		t.Errorf("sessions were reset (-before +after):\n%s", diff)
	}
}

// A node whose bgpd hangs delays nobody else, and catches up.
func TestFaultFRRHung(t *testing.T) { eachVersion(t, testFaultFRRHung) }

func testFaultFRRHung(t *testing.T, v lab.Version) {
	e := newE2E(t)
	e.configure(bgpPools("- {name: p, protocol: bgp, addresses: [192.0.2.224/28]}"))
	first := e.expose(lab.ServiceOptions{Name: "first"})[0]
	e.announced(route(first))
	n, others := e.nodeWith(v), e.othersThan(v)
	if err := n.FRR.Signal(unix.SIGSTOP, "bgpd"); err != nil {
		t.Fatal(err)
	}
	resume := func() {
		if err := n.FRR.Signal(unix.SIGCONT, "bgpd"); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(resume)
	second := e.expose(lab.ServiceOptions{Name: "second"})[0]
	e.learned(e.ebgp, route(second), others)
	resume()
	e.announced(route(second))
	e.announced(route(first))
}

// An API server that restarts makes nobody withdraw anything.
func TestFaultAPIServer(t *testing.T) {
	e := newE2E(t)
	e.configure(bgpPools("- {name: p, protocol: bgp, addresses: [192.0.2.240/28]}"))
	addr := e.expose(lab.ServiceOptions{Name: "web"})[0]
	e.announced(route(addr))
	since := time.Now()
	stop := e.load(addr)
	if err := e.Cluster.RestartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := e.expose(lab.ServiceOptions{Name: "second"})[0]
	e.announced(route(second))
	stop()
	for _, c := range e.routes.History(route(addr)) {
		if c.Time.After(since) {
			t.Errorf("r1's route to %s changed: %v", addr, c)
		}
	}
}

// Controllers that are killed and restarted while Services come and go change
// no address and give none out twice.
//
// Acceptance: L003.
func TestFaultControllerRestarted(t *testing.T) {
	e := newE2E(t)
	e.configure(bgpPools("- {name: p, protocol: bgp, addresses: [10.250.0.0/24]}"))
	if err := e.Cluster.CreateNamespace(t.Context(), e.namespace); err != nil {
		t.Fatal(err)
	}
	const services = 60
	create := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			_, err := e.Cluster.CreateService(t.Context(), lab.ServiceOptions{Namespace: e.namespace, Name: fmt.Sprintf("web-%d", i), NoNodePorts: true})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	addresses := func() map[string]netip.Addr {
		t.Helper()
		all := map[string]netip.Addr{}
		for i := range services {
			name := fmt.Sprintf("web-%d", i)
			a, err := e.Cluster.WaitAddress(t.Context(), e.namespace, name)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = a[0]
		}
		return all
	}
	var g errgroup.Group
	g.Go(func() error {
		for range 3 {
			for _, c := range e.Controllers {
				if err := c.Kill(); err != nil {
					return err
				}
				if err := c.Start(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	create(0, services)
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	before := addresses()
	owner := map[netip.Addr]string{}
	for name, a := range before {
		if other, taken := owner[a]; taken {
			t.Errorf("%s and %s both have %s", name, other, a)
		}
		owner[a] = name
	}
	for _, c := range e.Controllers {
		if err := c.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	// A Service made now gets an address only from a controller that has adopted
	// the others'.
	e.expose(lab.ServiceOptions{Name: "late"})
	if diff := cmp.Diff(before, addresses(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("addresses changed (-before +after):\n%s", diff)
	}
}

// When the leading controller dies, the other takes over.
func TestFaultLeaderKilled(t *testing.T) {
	e := newE2E(t)
	e.configure(bgpPools("- {name: p, protocol: bgp, addresses: [10.251.0.0/24]}"))
	e.expose(lab.ServiceOptions{Name: "first"})
	leader := e.leader()
	t.Log("leader:", leader.Name)
	if err := leader.Kill(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	e.expose(lab.ServiceOptions{Name: "second"})
	t.Logf("the other assigns after %v", time.Since(start).Round(time.Millisecond))
	if err := leader.Start(); err != nil {
		t.Fatal(err)
	}
	// A planned stop hands over at once.
	leader = e.leader()
	leader.Stop()
	start = time.Now()
	e.expose(lab.ServiceOptions{Name: "third"})
	t.Logf("after a planned stop the other assigns after %v", time.Since(start).Round(time.Millisecond))
	if err := leader.Start(); err != nil {
		t.Fatal(err)
	}
}

// leader returns the controller that holds the Lease.
func (e *e2e) leader() *lab.Daemon {
	e.t.Helper()
	var leader *lab.Daemon
	e.eventually("leader", func(ctx context.Context) error {
		l, err := e.Cluster.Client().CoordinationV1().Leases(lab.HeraldNamespace).Get(ctx, "herald-controller", metav1.GetOptions{})
		if err != nil {
			return err
		}
		holder := *l.Spec.HolderIdentity
		i := slices.IndexFunc(e.Controllers, func(c *lab.Daemon) bool { return strings.HasPrefix(holder, c.Name) })
		if i < 0 {
			return fmt.Errorf("the Lease is held by %q", holder)
		}
		leader = e.Controllers[i]
		return nil
	})
	return leader
}

// A configuration that is refused, or goes missing, takes nothing away.
func TestFaultBadConfiguration(t *testing.T) {
	e := newE2E(t)
	good := bgpPools("- {name: p, protocol: bgp, addresses: [10.252.0.0/24]}")
	e.configure(good)
	addr := e.expose(lab.ServiceOptions{Name: "web"})[0]
	e.announced(route(addr))
	since := time.Now()
	stale := func(want string) {
		t.Helper()
		e.eventually("config_stale_bool is "+want, func(ctx context.Context) error {
			for _, d := range append(slices.Clone(e.Agents), e.leader()) {
				page, err := d.Get(ctx, "/metrics")
				if err != nil {
					return err
				}
				if !strings.Contains(page, "\nmetallb_k8s_client_config_stale_bool "+want+"\n") {
					return fmt.Errorf("not so in %s", d.Name)
				}
			}
			return nil
		})
	}
	e.configure(strings.Replace(good, "10.252.0.0/24", "10.252.0.0/240", 1))
	stale("1")
	e.eventually("event on the ConfigMap", func(ctx context.Context) error {
		events, err := e.Cluster.Client().CoreV1().Events(lab.HeraldNamespace).List(ctx, metav1.ListOptions{
			FieldSelector: "involvedObject.kind=ConfigMap,involvedObject.name=" + lab.HeraldConfigMap,
		})
		if err != nil {
			return err
		}
		for _, ev := range events.Items {
			if ev.Type == corev1.EventTypeWarning && strings.Contains(ev.Message, "10.252.0.0/240") {
				return nil
			}
		}
		return fmt.Errorf("none of %d names the address", len(events.Items))
	})
	e.configure(good)
	stale("0")

	err := e.Cluster.Client().CoreV1().ConfigMaps(lab.HeraldNamespace).Delete(t.Context(), lab.HeraldConfigMap, metav1.DeleteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// The last good configuration goes on serving.
	second := e.expose(lab.ServiceOptions{Name: "second"})[0]
	e.announced(route(second))
	for _, c := range e.routes.History(route(addr)) {
		if c.Time.After(since) {
			t.Errorf("r1's route to %s changed: %v", addr, c)
		}
	}
	e.configure(good)
	e.announced(route(addr))
}
