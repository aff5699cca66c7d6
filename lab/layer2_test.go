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

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/reconcile"
)

// layer2Pools is a configuration of layer 2 pools on the nodes' LAN, and of
// sessions, which stay as in other tests.
func layer2Pools(pools string) string { return allPeers + "address-pools:\n" + pools }

// layer2Pool is one pool of IPv4 and IPv6 addresses, with a name.
func layer2Pool(addresses string) string {
	return layer2Pools("- {name: lan, protocol: layer2, addresses: " + addresses + "}")
}

// neighbors watches from c2 who says that he has which address, until the test
// ends.
func (e *e2e) neighbors() *lab.NeighborWatch {
	e.t.Helper()
	w, err := e.LANClient.WatchNeighbors()
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(w.Close)
	return w
}

// owner waits until exactly one node answers for an address, two times in a row,
// and returns it.
func (e *e2e) owner(w *lab.NeighborWatch, a netip.Addr) *lab.Node {
	e.t.Helper()
	var owner *lab.Node
	e.eventually("one owner of "+a.String(), func(ctx context.Context) error {
		last := owner
		macs, err := w.Ask(ctx, a, 100*time.Millisecond)
		if err != nil {
			return err
		}
		owner = nil
		if len(macs) != 1 {
			return fmt.Errorf("%v answer", macs)
		}
		if owner = e.Owner(macs[0]); owner == nil {
			return fmt.Errorf("%v answers, which is no node", macs[0])
		}
		if owner != last {
			return fmt.Errorf("%s answers, for the first time", owner.Name)
		}
		return nil
	})
	return owner
}

// unanswered waits until nobody answers for an address.
func (e *e2e) unanswered(w *lab.NeighborWatch, a netip.Addr) {
	e.t.Helper()
	e.eventually("nobody has "+a.String(), func(ctx context.Context) error {
		macs, err := w.Ask(ctx, a, 300*time.Millisecond)
		if err == nil && len(macs) > 0 {
			err = fmt.Errorf("%v answer", macs)
		}
		return err
	})
}

// reachedFrom asks the Service from a machine until the answers came from exactly
// these nodes' backends, no nodes meaning all.
func (e *e2e) reachedFrom(m *lab.Machine, a netip.Addr, nodes ...*lab.Node) {
	e.t.Helper()
	if len(nodes) == 0 {
		nodes = e.Nodes
	}
	want := map[string]bool{}
	for _, n := range nodes {
		want[n.Name] = true
	}
	seen := map[string]bool{}
	url := "http://" + netip.AddrPortFrom(a, 80).String() + "/"
	e.eventually("reach "+url+" from "+m.Name, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		answer, err := m.Get(ctx, url)
		if err != nil {
			return err
		}
		if !want[answer.Backend] {
			e.t.Fatalf("%s answered at %s, want only %v", answer.Backend, url, want)
		}
		seen[answer.Backend] = true
		if len(seen) < len(want) {
			return fmt.Errorf("only %v answered, want %v", seen, want)
		}
		return nil
	})
}

// metric waits until a daemon shows a line of metrics.
func (e *e2e) metric(d *lab.Daemon, line string) {
	e.t.Helper()
	e.eventually("metric of "+d.Name, func(ctx context.Context) error {
		page, err := d.Get(ctx, "/metrics")
		if err == nil && !strings.Contains(page, "\n"+line) {
			err = fmt.Errorf("no %q", line)
		}
		return err
	})
}

// MetalLB's L027 to L030, L033, L034, L037 and L038.
func TestLayer2Service(t *testing.T) {
	tests := []struct {
		name     string
		pool     string
		families []corev1.IPFamily
		want     []string
	}{
		{"ipv4 range", "[10.10.0.50-10.10.0.59]", []corev1.IPFamily{v4}, []string{"10.10.0.50-10.10.0.59"}},
		{"ipv4 prefix", "[10.10.0.64/28]", []corev1.IPFamily{v4}, []string{"10.10.0.64/28"}},
		{"ipv6 range", `["fd00:10:10::500-fd00:10:10::509"]`, []corev1.IPFamily{v6}, []string{"fd00:10:10::500-fd00:10:10::509"}},
		{
			"dual-stack", `[10.10.0.80/29, "fd00:10:10::600/124"]`,
			[]corev1.IPFamily{v4, v6}, []string{"10.10.0.80/29", "fd00:10:10::600/124"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := newE2E(t)
			w := e.neighbors()
			e.configure(layer2Pool(test.pool))
			opts := lab.ServiceOptions{Name: "web", Families: test.families}
			if len(test.families) > 1 {
				opts.FamilyPolicy = corev1.IPFamilyPolicyRequireDualStack
			}
			start := time.Now()
			addrs := e.expose(opts)
			if len(addrs) != len(test.want) {
				t.Fatalf("got addresses %v, want one from each of %v", addrs, test.want)
			}
			for i, a := range addrs {
				if err := inRange(a, test.want[i]); err != nil {
					t.Error(err)
				}
				claim, err := w.WaitClaim(t.Context(), a, start, func(l2.MAC) bool { return true })
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%s announced %v after the Service was made", a, claim.Time.Sub(start).Round(time.Millisecond))
				owner := e.owner(w, a)
				e.reachedFrom(e.LANClient, a)
				e.reachedFrom(e.Client, a) // the router asks for it
				for _, n := range e.Nodes {
					line := fmt.Sprintf("metallb_speaker_announced{ip=%q,node=%q,protocol=\"layer2\",service=\"%s/web\"} 1", a, n.Name, e.namespace)
					if n == owner {
						e.metric(e.Agent(n), line)
						for _, name := range []string{"requests_received", "responses_sent", "gratuitous_sent"} {
							e.metric(e.Agent(n), fmt.Sprintf("metallb_layer2_%s{ip=%q} ", name, a))
						}
						continue
					}
					if page, err := e.Agent(n).Get(t.Context(), "/metrics"); err != nil || strings.Contains(page, line) {
						t.Errorf("%s announces %s too, or: %v", n.Name, a, err)
					}
				}
			}
			if err := e.Cluster.DeleteService(t.Context(), e.namespace, "web"); err != nil {
				t.Fatal(err)
			}
			for _, a := range addrs {
				e.unanswered(w, a)
			}
		})
	}
}

// MetalLB's L029: the owner has an endpoint, and moves with it.
func TestLayer2LocalPolicy(t *testing.T) {
	e := newE2E(t)
	w := e.neighbors()
	e.configure(layer2Pool(`[10.10.0.88/29, "fd00:10:10::700/124"]`))
	opts := lab.ServiceOptions{
		Name: "web", Namespace: e.namespace, Local: true,
		Families: []corev1.IPFamily{v4, v6}, FamilyPolicy: corev1.IPFamilyPolicyRequireDualStack,
	}
	addrs := e.expose(opts, e.Nodes[0])
	for _, n := range e.Nodes {
		if err := e.SetBackends(t.Context(), opts, n); err != nil {
			t.Fatal(err)
		}
		for _, a := range addrs {
			e.eventually("owner of "+a.String(), func(context.Context) error {
				if owner := e.owner(w, a); owner != n {
					return fmt.Errorf("%s, but the endpoint is on %s", owner.Name, n.Name)
				}
				return nil
			})
			e.reachedFrom(e.LANClient, a, n)
			e.reachedFrom(e.Client, a, n)
		}
	}
}

// MetalLB's L031 and L032: an owner that may not announce any more.
func TestLayer2Node(t *testing.T) {
	e := newE2E(t)
	w := e.neighbors()
	e.configure(layer2Pool("[10.10.0.96/29]"))
	a := e.expose(lab.ServiceOptions{Name: "web"})[0]
	first := e.owner(w, a)
	moves := func(what string, change func(ctx context.Context) error) {
		t.Helper()
		stop := e.loadFrom(e.LANClient, a)
		if err := change(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.eventually(what, func(context.Context) error {
			if owner := e.owner(w, a); owner == first {
				return fmt.Errorf("%s still answers", first.Name)
			}
			return nil
		})
		stop()
	}
	returns := func(what string, change func(ctx context.Context) error) {
		t.Helper()
		stop := e.loadFrom(e.LANClient, a)
		if err := change(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.eventually(what, func(context.Context) error {
			if owner := e.owner(w, a); owner != first {
				return fmt.Errorf("%s answers, not %s", owner.Name, first.Name)
			}
			return nil
		})
		stop()
	}
	moves("network unavailable", func(ctx context.Context) error {
		return e.Cluster.SetNodeCondition(ctx, first.Name, corev1.NodeNetworkUnavailable, true)
	})
	returns("network available", func(ctx context.Context) error {
		return e.Cluster.SetNodeCondition(ctx, first.Name, corev1.NodeNetworkUnavailable, false)
	})
	moves("excluded", func(ctx context.Context) error {
		return e.Cluster.LabelNode(ctx, first.Name, reconcile.LabelExcludeNode, "")
	})
	returns("excluded no more", func(ctx context.Context) error {
		return e.Cluster.UnlabelNode(ctx, first.Name, reconcile.LabelExcludeNode)
	})
}

// loadFrom is load from another machine, of a Service with backends on these
// nodes, no nodes meaning all.
func (e *e2e) loadFrom(m *lab.Machine, a netip.Addr, nodes ...*lab.Node) (stop func()) {
	e.t.Helper()
	e.reachedFrom(m, a, nodes...)
	l := m.StartLoad(lab.LoadOptions{URL: "http://" + netip.AddrPortFrom(a, 80).String() + "/", PerSecond: 100})
	return func() {
		e.t.Helper()
		r := l.Stop()
		e.t.Log("load:", r)
		if r.Lost > 0 || r.OK == 0 {
			e.t.Errorf("%d of %d requests were lost, sent from %s to %s, the last because of: %v",
				r.Lost, r.Sent, r.FirstLoss.Format(time.StampMilli), r.LastLoss.Format(time.StampMilli), r.LastError)
		}
		if r.Slowest > time.Second {
			e.t.Errorf("the request sent at %s took %v", r.SlowAt.Format(time.StampMilli), r.Slowest)
		}
	}
}

// MetalLB's L035 and L036: Services that share an address have one owner.
func TestLayer2SharedAddress(t *testing.T) {
	e := newE2E(t)
	w := e.neighbors()
	e.configure(layer2Pool(`[10.10.0.104/29, "fd00:10:10::800/124"]`))
	for _, family := range []corev1.IPFamily{v4, v6} {
		address := map[corev1.IPFamily]string{v4: "10.10.0.106", v6: "fd00:10:10::802"}[family]
		names := []string{"a-" + strings.ToLower(string(family)), "b-" + strings.ToLower(string(family))}
		for i, name := range names {
			got := e.expose(lab.ServiceOptions{
				Name: name, Address: address, Families: []corev1.IPFamily{family},
				Annotations: map[string]string{"metallb.io/allow-shared-ip": "key"},
				Ports:       []corev1.ServicePort{{Port: int32(80 + i), TargetPort: intstr.FromInt32(lab.BackendPort)}},
			})
			if len(got) != 1 || got[0].String() != address {
				t.Fatalf("%s has %v, want %s", name, got, address)
			}
		}
		a := netip.MustParseAddr(address)
		e.owner(w, a)
		for i := range names {
			url := "http://" + netip.AddrPortFrom(a, uint16(80+i)).String() + "/"
			e.eventually(url, func(ctx context.Context) error {
				_, err := e.LANClient.Get(ctx, url)
				return err
			})
		}
	}
}

// Five hundred addresses are spread over the nodes, within a fifth of evenly, and
// one owner that stops leaves none of them without.
func TestLayer2Spread(t *testing.T) {
	const services = 500
	e := newE2E(t)
	e.configure(layer2Pool("[10.10.4.0/23]")) // no route leads there, and none has to
	if err := e.SetBackends(t.Context(), lab.ServiceOptions{Namespace: e.namespace, Name: "all"}); err != nil {
		t.Fatal(err)
	}
	for i := range services {
		opts := lab.ServiceOptions{Namespace: e.namespace, Name: fmt.Sprintf("s%d", i), Backends: "all", NoNodePorts: true}
		if _, err := e.Cluster.CreateService(t.Context(), opts); err != nil {
			t.Fatal(err)
		}
	}
	held := func(nodes ...*lab.Node) {
		t.Helper()
		e.eventually("owners of all addresses", func(ctx context.Context) error {
			var counts []int
			total := 0
			for _, n := range nodes {
				page, err := e.Agent(n).Get(ctx, "/metrics")
				if err != nil {
					return err
				}
				c := strings.Count(page, "\nmetallb_speaker_announced{")
				counts = append(counts, c)
				total += c
			}
			if total != services {
				return fmt.Errorf("%v announced, of %d", counts, services)
			}
			even := float64(services) / float64(len(nodes))
			for _, c := range counts {
				if f := float64(c); f < 0.8*even || f > 1.2*even {
					return fmt.Errorf("%v announced, want each within a fifth of %.0f", counts, even)
				}
			}
			t.Logf("spread over %d nodes: %v", len(nodes), counts)
			return nil
		})
	}
	held(e.Nodes...)
	e.Agent(e.Nodes[0]).Stop()
	held(e.Nodes[1:]...)
	if err := e.Agent(e.Nodes[0]).Start(); err != nil {
		t.Fatal(err)
	}
	held(e.Nodes...)
}

// A foreign host that has the address of a Service is reported; the address is
// announced all the same.
func TestLayer2Conflict(t *testing.T) {
	e := newE2E(t)
	e.configure(layer2Pool("[10.10.0.112/29]"))
	const address = "10.10.0.114"
	if _, err := e.Collector.Run(t.Context(), "ip", "addr", "add", address+"/24", "dev", "eth0"); err != nil {
		t.Fatal(err)
	}
	drop := func() {
		if _, err := e.Collector.Run(context.Background(), "ip", "addr", "del", address+"/24", "dev", "eth0"); err != nil {
			t.Error(err)
		}
	}
	defer drop()
	foreign, err := e.Collector.MAC()
	if err != nil {
		t.Fatal(err)
	}
	e.expose(lab.ServiceOptions{Name: "web", Address: address})
	e.eventually("the conflict is reported", func(ctx context.Context) error {
		var lines []string
		for _, n := range e.Nodes {
			page, err := e.Agent(n).Get(ctx, "/metrics")
			if err != nil {
				return err
			}
			for line := range strings.Lines(page) {
				if strings.HasPrefix(line, "herald_layer2_conflict{") {
					lines = append(lines, strings.TrimSpace(line))
				}
			}
		}
		want := fmt.Sprintf("herald_layer2_conflict{ip=%q,mac=%q} 1", address, foreign)
		if !slices.Equal(lines, []string{want}) {
			return fmt.Errorf("%v, want %s from one agent", lines, want)
		}
		return nil
	})
	e.event("web", reconcile.EventConflict, foreign.String()+" on eth0 has the address")
}

// Told to refuse, no node announces an address that a foreign host has, until that
// host is silent.
func TestLayer2ConflictRefused(t *testing.T) {
	lab.Need(t, "zebra", "bgpd", "nft")
	s, err := lab.UpStack(t.Context(), lab.StackOptions{Network: lab.Options{Nodes: 2}, AgentArgs: []string{"--l2-conflict=refuse"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	e := &e2e{Stack: s, t: t, namespace: "refused"}
	w := e.neighbors()
	const address = "10.10.0.60"
	a := netip.MustParseAddr(address)
	if _, err := e.Collector.Run(t.Context(), "ip", "addr", "add", address+"/24", "dev", "eth0"); err != nil {
		t.Fatal(err)
	}
	e.configure("address-pools: [{name: lan, protocol: layer2, addresses: [10.10.0.60/31]}]")
	e.expose(lab.ServiceOptions{Name: "web", Address: address})
	free := e.expose(lab.ServiceOptions{Name: "free", Address: "10.10.0.61"})[0]
	e.owner(w, free)
	e.event("web", reconcile.EventConflict, "has the address")
	foreign, err := e.Collector.MAC()
	if err != nil {
		t.Fatal(err)
	}
	macs, err := w.Ask(t.Context(), a, 500*time.Millisecond)
	if err != nil || !slices.Equal(macs, []l2.MAC{foreign}) {
		t.Errorf("%v answer for %s, %v; want %v alone", macs, a, err, foreign)
	}
	if _, err := e.Collector.Run(t.Context(), "ip", "addr", "del", address+"/24", "dev", "eth0"); err != nil {
		t.Fatal(err)
	}
	// It is asked for again within half a minute, give or take a fifth.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for start := time.Now(); ; {
		_, err := w.WaitClaim(ctx, a, start, func(by l2.MAC) bool { return by != foreign })
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	e.owner(w, a)
}

// event waits for an event about a Service of the test.
func (e *e2e) event(service, reason, message string) {
	e.t.Helper()
	e.eventually("event "+reason, func(ctx context.Context) error {
		list, err := e.Cluster.Client().CoreV1().Events(e.namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		var others []string
		for _, ev := range list.Items {
			if ev.InvolvedObject.Name == service && ev.Reason == reason && strings.Contains(ev.Message, message) {
				return nil
			}
			others = append(others, ev.Reason+": "+ev.Message)
		}
		return fmt.Errorf("only %q", others)
	})
}
