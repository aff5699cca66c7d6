// SPDX-License-Identifier: Apache-2.0

package layer2_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// answeredAt waits until a machine gets an answer at an address and port. A request
// that is lost, as before kube-proxy knows the Service, is not waited for.
func answeredAt(e *e2e.Test, m *lab.Machine, at netip.AddrPort) {
	e.T.Helper()
	url := "http://" + at.String() + "/"
	e.Eventually(url, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := m.Get(ctx, url)
		return err
	})
}

// One node answers for a Service of layer 2, which both sides' clients reach.
//
// Acceptance: L027, L033, L034.
func TestLayer2Service(t *testing.T) {
	tests := []struct {
		name     string
		pool     string
		families []corev1.IPFamily
		want     []string
	}{
		{"ipv4 range", "[10.10.0.50-10.10.0.59]", []corev1.IPFamily{e2e.IPv4}, []string{"10.10.0.50-10.10.0.59"}},
		{"ipv4 prefix", "[10.10.0.64/28]", []corev1.IPFamily{e2e.IPv4}, []string{"10.10.0.64/28"}},
		{"ipv6 range", `["fd00:10:10::500-fd00:10:10::509"]`, []corev1.IPFamily{e2e.IPv6}, []string{"fd00:10:10::500-fd00:10:10::509"}},
		{
			"dual-stack", `[10.10.0.80/29, "fd00:10:10::600/124"]`,
			[]corev1.IPFamily{e2e.IPv4, e2e.IPv6}, []string{"10.10.0.80/29", "fd00:10:10::600/124"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := e2e.New(t)
			w := e.Neighbors()
			e.Configure(e2e.Layer2Pool(test.pool))
			opts := controlplane.ServiceOptions{Name: "web", Families: test.families}
			if len(test.families) > 1 {
				opts.FamilyPolicy = corev1.IPFamilyPolicyRequireDualStack
			}
			start := time.Now()
			addrs := e.Expose(opts)
			if len(addrs) != len(test.want) {
				t.Fatalf("got addresses %v, want one from each of %v", addrs, test.want)
			}
			for i, a := range addrs {
				if err := e2e.InRange(a, test.want[i]); err != nil {
					t.Error(err)
				}
				claim, err := w.WaitClaim(t.Context(), a, start, func(l2.MAC) bool { return true })
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%s announced %v after the Service was made", a, claim.Time.Sub(start).Round(time.Millisecond))
				owner := e.Owner(w, a)
				e.ReachedFrom(e.LANClient, a)
				e.ReachedFrom(e.Client, a) // the router asks for it
				for _, n := range e.Nodes {
					line := fmt.Sprintf("metallb_speaker_announced{ip=%q,node=%q,protocol=\"layer2\",service=\"%s/web\"} 1", a, n.Name, e.Namespace)
					if n == owner {
						e.Metric(e.Agent(n), line)
						for _, name := range []string{"requests_received", "responses_sent", "gratuitous_sent"} {
							e.Metric(e.Agent(n), fmt.Sprintf("metallb_layer2_%s{ip=%q} ", name, a))
						}
						continue
					}
					if page, err := e.Agent(n).Get(t.Context(), "/metrics"); err != nil || strings.Contains(page, line) {
						t.Errorf("%s announces %s too, or: %v", n.Name, a, err)
					}
				}
			}
			if err := e.Cluster.DeleteService(t.Context(), e.Namespace, "web"); err != nil {
				t.Fatal(err)
			}
			for _, a := range addrs {
				e.Unanswered(w, a)
			}
		})
	}
}

// One Service over TCP and UDP.
//
// Acceptance: L030.
func TestLayer2TwoProtocols(t *testing.T) {
	e := e2e.New(t)
	e.Configure(e2e.Layer2Pool("[10.10.0.170/31]"))
	port := intstr.FromInt32(controlplane.BackendPort)
	a := e.Expose(controlplane.ServiceOptions{Name: "web", Ports: []corev1.ServicePort{
		{Name: "tcp", Protocol: corev1.ProtocolTCP, Port: 80, TargetPort: port},
		{Name: "udp", Protocol: corev1.ProtocolUDP, Port: 80, TargetPort: port},
	}})[0]
	for _, m := range []*lab.Machine{e.LANClient, e.Client} {
		e.ReachedFrom(m, a)
		e.Eventually("an answer over UDP to "+m.Name, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_, err := m.AskUDP(ctx, netip.AddrPortFrom(a, 80))
			return err
		})
	}
}

// An annotation picks the pool, whether or not it assigns by itself, and who has an
// address keeps it and stays reachable.
//
// Acceptance: L039-L042.
func TestLayer2PickedPool(t *testing.T) {
	e := e2e.New(t)
	w := e.Neighbors()
	pools := `- {name: lan, protocol: layer2, addresses: [10.10.0.172/31, "fd00:10:10::a00/124"]}
`
	e.Configure(e2e.Layer2Pools(pools))
	first := map[corev1.IPFamily]netip.Addr{}
	for _, family := range []corev1.IPFamily{e2e.IPv4, e2e.IPv6} {
		first[family] = e.Expose(controlplane.ServiceOptions{Name: "first-" + strings.ToLower(string(family)), Families: []corev1.IPFamily{family}})[0]
	}
	for i, auto := range []string{"true", "false"} {
		name := fmt.Sprintf("picked-%s", auto)
		ranges := map[corev1.IPFamily]string{e2e.IPv4: fmt.Sprintf("10.10.0.%d/31", 174+2*i), e2e.IPv6: fmt.Sprintf("fd00:10:10::b%d0/124", i)}
		pools += fmt.Sprintf("- {name: %s, protocol: layer2, auto-assign: %s, addresses: [%s, %q]}\n", name, auto, ranges[e2e.IPv4], ranges[e2e.IPv6])
		e.Configure(e2e.Layer2Pools(pools))
		for family, text := range ranges {
			opts := controlplane.ServiceOptions{
				Name: name + "-" + strings.ToLower(string(family)), Families: []corev1.IPFamily{family},
				Annotations: map[string]string{"metallb.io/address-pool": name},
			}
			a := e.Expose(opts)[0]
			if err := e2e.InRange(a, text); err != nil {
				t.Error(err)
			}
			svc, err := e.Cluster.WaitService(t.Context(), e.Namespace, opts.Name, func(*corev1.Service) bool { return true })
			if err != nil || svc.Annotations[assign.AnnotationPool] != name {
				t.Errorf("%s is annotated with pool %q, %v", opts.Name, svc.Annotations[assign.AnnotationPool], err)
			}
			e.Owner(w, a)
			e.ReachedFrom(e.LANClient, a)
			now, err := e.Cluster.WaitAddress(t.Context(), e.Namespace, "first-"+strings.ToLower(string(family)))
			if err != nil || now[0] != first[family] {
				t.Errorf("the first Service has %v, %v, before %v", now, err, first[family])
			}
			e.ReachedFrom(e.LANClient, first[family])
		}
	}
}

// The owner has an endpoint, and moves with it.
//
// Acceptance: L029.
func TestLayer2LocalPolicy(t *testing.T) {
	e := e2e.New(t)
	w := e.Neighbors()
	e.Configure(e2e.Layer2Pool(`[10.10.0.88/29, "fd00:10:10::700/124"]`))
	opts := controlplane.ServiceOptions{
		Name: "web", Namespace: e.Namespace, Local: true,
		Families: []corev1.IPFamily{e2e.IPv4, e2e.IPv6}, FamilyPolicy: corev1.IPFamilyPolicyRequireDualStack,
	}
	addrs := e.Expose(opts, e.Nodes[0])
	for _, n := range e.Nodes {
		if err := e.SetBackends(t.Context(), opts, n); err != nil {
			t.Fatal(err)
		}
		for _, a := range addrs {
			e.Eventually("owner of "+a.String(), func(context.Context) error {
				if owner := e.Owner(w, a); owner != n {
					return fmt.Errorf("%s, but the endpoint is on %s", owner.Name, n.Name)
				}
				return nil
			})
			e.ReachedFrom(e.LANClient, a, n)
			e.ReachedFrom(e.Client, a, n)
		}
	}
}

// An owner that may not announce any more hands over, and takes back.
//
// Acceptance: L031, L032.
func TestLayer2Node(t *testing.T) {
	e := e2e.New(t)
	w := e.Neighbors()
	e.Configure(e2e.Layer2Pool("[10.10.0.96/29]"))
	a := e.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	first := e.Owner(w, a)
	moves := func(what string, change func(ctx context.Context) error) {
		t.Helper()
		stop := e.LoadFrom(e.LANClient, a)
		if err := change(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.Eventually(what, func(context.Context) error {
			if owner := e.Owner(w, a); owner == first {
				return fmt.Errorf("%s still answers", first.Name)
			}
			return nil
		})
		stop()
	}
	returns := func(what string, change func(ctx context.Context) error) {
		t.Helper()
		stop := e.LoadFrom(e.LANClient, a)
		if err := change(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.Eventually(what, func(context.Context) error {
			if owner := e.Owner(w, a); owner != first {
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
		return e.Cluster.LabelNode(ctx, first.Name, announce.LabelExcludeNode, "")
	})
	returns("excluded no more", func(ctx context.Context) error {
		return e.Cluster.UnlabelNode(ctx, first.Name, announce.LabelExcludeNode)
	})
}

// Services that share an address have one owner.
//
// Acceptance: L035, L036.
func TestLayer2SharedAddress(t *testing.T) {
	e := e2e.New(t)
	w := e.Neighbors()
	e.Configure(e2e.Layer2Pool(`[10.10.0.104/29, "fd00:10:10::800/124"]`))
	for _, family := range []corev1.IPFamily{e2e.IPv4, e2e.IPv6} {
		address := map[corev1.IPFamily]string{e2e.IPv4: "10.10.0.106", e2e.IPv6: "fd00:10:10::802"}[family]
		names := []string{"a-" + strings.ToLower(string(family)), "b-" + strings.ToLower(string(family))}
		for i, name := range names {
			got := e.Expose(controlplane.ServiceOptions{
				Name: name, Address: address, Families: []corev1.IPFamily{family},
				Annotations: map[string]string{"metallb.io/allow-shared-ip": "key"},
				Ports:       []corev1.ServicePort{{Port: int32(80 + i), TargetPort: intstr.FromInt32(controlplane.BackendPort)}},
			})
			if len(got) != 1 || got[0].String() != address {
				t.Fatalf("%s has %v, want %s", name, got, address)
			}
		}
		a := netip.MustParseAddr(address)
		e.Owner(w, a)
		for i := range names {
			answeredAt(e, e.LANClient, netip.AddrPortFrom(a, uint16(80+i)))
		}
	}
}

// Five hundred addresses are spread over the nodes, within a fifth of evenly, and
// one owner that stops leaves none of them without.
func TestLayer2Spread(t *testing.T) {
	const services = 500
	e := e2e.New(t)
	e.Configure(e2e.Layer2Pool("[10.10.4.0/23]")) // no route leads there, and none has to
	if err := e.SetBackends(t.Context(), controlplane.ServiceOptions{Namespace: e.Namespace, Name: "all"}); err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	g.SetLimit(8)
	for i := range services {
		opts := controlplane.ServiceOptions{Namespace: e.Namespace, Name: fmt.Sprintf("s%d", i), Backends: "all", NoNodePorts: true}
		g.Go(func() error {
			_, err := e.Cluster.CreateService(t.Context(), opts)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	held := func(nodes ...*lab.Node) {
		t.Helper()
		e.Eventually("owners of all addresses", func(ctx context.Context) error {
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
