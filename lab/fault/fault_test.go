// SPDX-License-Identifier: Apache-2.0

package fault_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/status"
)

// A killed agent leaves FRR's sessions and routes alone, and the next one
// carries on.
func TestFaultAgentKilled(t *testing.T) {
	e := e2e.New(t)
	e.Configure(e2e.BGPPools("- {name: p, protocol: bgp, addresses: [192.0.2.192/28]}"))
	addr := e.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	e.Announced(e2e.Route(addr))
	before := e.Connections()
	since := time.Now()
	stop := e.Load(addr)
	for _, a := range e.Agents {
		if err := a.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := a.Start(); err != nil {
			t.Fatal(err)
		}
	}
	// The new agents are at work when a new Service's route is there.
	second := e.Expose(controlplane.ServiceOptions{Name: "second"})[0]
	e.Announced(e2e.Route(second))
	for _, a := range e.Agents {
		if err := a.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	third := e.Expose(controlplane.ServiceOptions{Name: "third"})[0]
	e.Announced(e2e.Route(third))
	stop()
	unchanged(e, addr, since)
	if diff := cmp.Diff(before, e.Connections()); diff != "" {
		t.Errorf("sessions were reset (-before +after):\n%s", diff)
	}
}

// FRR that crashes and starts again has its sessions and routes back within
// five seconds.
func TestFaultFRRKilled(t *testing.T) { e2e.EachVersion(t, testFaultFRRKilled) }

func testFaultFRRKilled(t *testing.T, v lab.Version) {
	e := e2e.New(t)
	e.Configure(e2e.BGPPools("- {name: p, protocol: bgp, addresses: [192.0.2.208/28]}"))
	addr := e.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	e.Announced(e2e.Route(addr))
	n, others := e.NodeWith(v), e.OthersThan(v)
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
		e.InKernel(e2e.Route(addr), others)
		start := time.Now()
		if err := test.start(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.InKernel(e2e.Route(addr), e.Nodes)
		took := time.Since(start)
		t.Logf("killed %v: the route via %s is back after %v", daemons, n.Name, took.Round(time.Millisecond))
		if took > 5*time.Second {
			t.Errorf("killed %v: the route via %s took %v to be back, want 5 s", daemons, n.Name, took)
		}
		e.Announced(e2e.Route(addr))
		// A route of this very moment is withdrawn like any other.
		brief := e.Expose(controlplane.ServiceOptions{Name: "brief"})[0]
		e.Announced(e2e.Route(brief))
		if err := e.Cluster.DeleteService(t.Context(), e.Namespace, "brief"); err != nil {
			t.Fatal(err)
		}
		e.Withdrawn(e2e.Route(brief))
	}
}

// FRR that starts while there is no agent has its routes from frr.conf, and an
// agent that comes later leaves its sessions alone.
func TestFaultFRRWithoutAgent(t *testing.T) { e2e.EachVersion(t, testFaultFRRWithoutAgent) }

func testFaultFRRWithoutAgent(t *testing.T, v lab.Version) {
	e := e2e.New(t)
	e.Configure(e2e.BGPPools("- {name: p, protocol: bgp, addresses: [192.0.2.216/29]}"))
	addr := e.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	e.Announced(e2e.Route(addr))
	n, others := e.NodeWith(v), e.OthersThan(v)
	// The agent writes the file at most once a second.
	e.Eventually("frr.conf has the route", func(context.Context) error {
		conf, err := os.ReadFile(filepath.Join(n.FRR.EtcDir, "frr.conf"))
		if err == nil && !strings.Contains(string(conf), "network "+e2e.Route(addr).String()+" ") {
			err = errors.New("it has not")
		}
		return err
	})
	if err := e.Agent(n).Kill(); err != nil {
		t.Fatal(err)
	}
	if err := n.FRR.Kill(); err != nil {
		t.Fatal(err)
	}
	e.InKernel(e2e.Route(addr), others)
	start := time.Now()
	if err := n.FRR.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.Announced(e2e.Route(addr))
	t.Logf("the route via %s is back after %v", n.Name, time.Since(start).Round(time.Millisecond))
	before := e.Connections()
	if err := e.Agent(n).Start(); err != nil {
		t.Fatal(err)
	}
	second := e.Expose(controlplane.ServiceOptions{Name: "second"})[0]
	e.Announced(e2e.Route(second))
	if diff := cmp.Diff(before, e.Connections()); diff != "" {
		t.Errorf("sessions were reset (-before +after):\n%s", diff)
	}
}

// A node whose bgpd hangs delays nobody else, and catches up.
func TestFaultFRRHung(t *testing.T) { e2e.EachVersion(t, testFaultFRRHung) }

func testFaultFRRHung(t *testing.T, v lab.Version) {
	e := e2e.New(t)
	e.Configure(e2e.BGPPools("- {name: p, protocol: bgp, addresses: [192.0.2.224/28]}"))
	first := e.Expose(controlplane.ServiceOptions{Name: "first"})[0]
	e.Announced(e2e.Route(first))
	n, others := e.NodeWith(v), e.OthersThan(v)
	if err := n.FRR.Signal(unix.SIGSTOP, "bgpd"); err != nil {
		t.Fatal(err)
	}
	resume := func() {
		if err := n.FRR.Signal(unix.SIGCONT, "bgpd"); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(resume)
	second := e.Expose(controlplane.ServiceOptions{Name: "second"})[0]
	e.Learned(e.EBGP, e2e.Route(second), others)
	resume()
	e.Announced(e2e.Route(second))
	e.Announced(e2e.Route(first))
}

// An API server that restarts makes nobody withdraw anything.
func TestFaultAPIServer(t *testing.T) {
	e := e2e.New(t)
	e.Configure(e2e.BGPPools("- {name: p, protocol: bgp, addresses: [192.0.2.240/28]}"))
	addr := e.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	e.Announced(e2e.Route(addr))
	since := time.Now()
	stop := e.Load(addr)
	if err := e.Cluster.RestartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := e.Expose(controlplane.ServiceOptions{Name: "second"})[0]
	e.Announced(e2e.Route(second))
	stop()
	unchanged(e, addr, since)
	hears(e)
}

// With an API server that takes 4 s for an answer there is a leader, which gives a new
// Service its address. Nobody withdraws anything.
func TestFaultSlowAPIServer(t *testing.T) {
	lab.NotAttached(t) // a lab that is lent has no gate before its API server
	e := e2e.New(t)
	e.Configure(e2e.BGPPools("- {name: p, protocol: bgp, addresses: [10.249.0.0/28]}"))
	addr := e.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	e.Announced(e2e.Route(addr))
	since := time.Now()
	stopLoad := e.Load(addr)
	stopSlow := e.Cluster.SlowAPIServer(4 * time.Second)
	// No answer comes within the time that a renewal of the Lease has at first.
	<-time.After(10 * time.Second)
	start := time.Now()
	second := controlplane.ServiceOptions{Namespace: e.Namespace, Name: "second", NoNodePorts: true}
	if _, err := e.Cluster.CreateService(t.Context(), second); err != nil {
		t.Error(err)
	}
	if _, err := e.Cluster.WaitAddress(t.Context(), e.Namespace, second.Name); err != nil {
		t.Error(err)
	}
	t.Logf("assigned after %v", time.Since(start).Round(time.Millisecond))
	if err := stopSlow(); err != nil {
		t.Fatal(err)
	}
	stopLoad()
	unchanged(e, addr, since)
	e.Eventually("Lease becomes shorter again", func(ctx context.Context) error {
		l, err := e.Cluster.Client().CoordinationV1().Leases(lab.HeraldNamespace).Get(ctx, "herald-controller", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if d := *l.Spec.LeaseDurationSeconds; d > 18 { // with answers of 4 s it was 24
			return fmt.Errorf("the Lease lasts %d s", d)
		}
		return nil
	})
}

// Controllers that are killed and restarted while Services come and go change
// no address and give none out twice.
//
// Acceptance: L003.
func TestFaultControllerRestarted(t *testing.T) {
	e := e2e.New(t)
	e.Configure(e2e.BGPPools("- {name: p, protocol: bgp, addresses: [10.250.0.0/24]}"))
	if err := e.Cluster.CreateNamespace(t.Context(), e.Namespace); err != nil {
		t.Fatal(err)
	}
	const services = 60
	create := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			_, err := e.Cluster.CreateService(t.Context(), controlplane.ServiceOptions{Namespace: e.Namespace, Name: fmt.Sprintf("web-%d", i), NoNodePorts: true})
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
			a, err := e.Cluster.WaitAddress(t.Context(), e.Namespace, name)
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
	e.Expose(controlplane.ServiceOptions{Name: "late"})
	if diff := cmp.Diff(before, addresses(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("addresses changed (-before +after):\n%s", diff)
	}
}

// When the leading controller dies, the other takes over.
func TestFaultLeaderKilled(t *testing.T) {
	e := e2e.New(t)
	e.Configure(e2e.BGPPools("- {name: p, protocol: bgp, addresses: [10.251.0.0/24]}"))
	e.Expose(controlplane.ServiceOptions{Name: "first"})
	leader := e.Leader()
	t.Log("leader:", leader.Name)
	if err := leader.Kill(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	e.Expose(controlplane.ServiceOptions{Name: "second"})
	t.Logf("the other assigns after %v", time.Since(start).Round(time.Millisecond))
	if err := leader.Start(); err != nil {
		t.Fatal(err)
	}
	// A planned stop hands over at once.
	leader = e.Leader()
	leader.Stop()
	start = time.Now()
	e.Expose(controlplane.ServiceOptions{Name: "third"})
	t.Logf("after a planned stop the other assigns after %v", time.Since(start).Round(time.Millisecond))
	if err := leader.Start(); err != nil {
		t.Fatal(err)
	}
}

// A configuration that is refused, or goes missing, takes nothing away.
func TestFaultBadConfiguration(t *testing.T) {
	e := e2e.New(t)
	good := e2e.BGPPools("- {name: p, protocol: bgp, addresses: [10.252.0.0/24]}")
	e.Configure(good)
	addr := e.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	e.Announced(e2e.Route(addr))
	since := time.Now()
	stale := func(want string) {
		t.Helper()
		e.Eventually("config_stale_bool is "+want, func(ctx context.Context) error {
			for _, d := range append(slices.Clone(e.Agents), e.Leader()) {
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
	e.Configure(strings.Replace(good, "10.252.0.0/24", "10.252.0.0/240", 1))
	stale("1")
	e.Eventually("event on the ConfigMap", func(ctx context.Context) error {
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
	e.Configure(good)
	stale("0")

	err := e.Cluster.Client().CoreV1().ConfigMaps(lab.HeraldNamespace).Delete(t.Context(), lab.HeraldConfigMap, metav1.DeleteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// The last good configuration goes on serving.
	second := e.Expose(controlplane.ServiceOptions{Name: "second"})[0]
	e.Announced(e2e.Route(second))
	unchanged(e, addr, since)
	e.Configure(good)
	e.Announced(e2e.Route(addr))
}

// unchanged fails the test if r1's route to an address has changed since then.
func unchanged(e *e2e.Test, addr netip.Addr, since time.Time) {
	e.T.Helper()
	for _, c := range e.Routes.History(e2e.Route(addr)) {
		if c.Time.After(since) {
			e.T.Errorf("r1's route to %s changed: %v", addr, c)
		}
	}
}

// hears waits until all of Herald hears of changes to its configuration. After the API
// server was away that takes seconds, and the next test begins with such a change.
func hears(e *e2e.Test) {
	e.T.Helper()
	patch := fmt.Appendf(nil, `{"metadata": {"annotations": {"changed": %q}}}`, e.T.Name())
	changed, err := e.Cluster.Client().CoreV1().ConfigMaps(lab.HeraldNamespace).Patch(e.T.Context(), lab.HeraldConfigMap, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		e.T.Fatal(err)
	}
	e.Eventually("change of the configuration is heard of", func(ctx context.Context) error {
		for _, d := range slices.Concat(e.Controllers, e.Agents) {
			page, err := d.Get(ctx, "/status")
			if err != nil {
				return err
			}
			var r status.Report
			if err := json.Unmarshal([]byte(page), &r); err != nil {
				return err
			}
			if r.Config.Newest != changed.ResourceVersion {
				return fmt.Errorf("%s has version %s, want %s", d.Name, r.Config.Newest, changed.ResourceVersion)
			}
		}
		return nil
	})
}
