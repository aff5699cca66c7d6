// SPDX-License-Identifier: Apache-2.0

package bgp_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// Acceptance: B001-B005, B020-B025.
func TestBGPService(t *testing.T) {
	tests := []struct {
		name        string
		pool        string // addresses of the pool, in YAML
		families    []corev1.IPFamily
		annotations map[string]string
		want        []string // the range that each address is from
	}{
		{name: "ipv4 prefix", pool: "[192.0.2.0/26]", families: []corev1.IPFamily{e2e.IPv4}, want: []string{"192.0.2.0/26"}},
		{name: "ipv4 range", pool: "[192.0.2.70-192.0.2.79]", families: []corev1.IPFamily{e2e.IPv4}, want: []string{"192.0.2.70-192.0.2.79"}},
		{name: "ipv6 prefix", pool: `["fd00:1::/116"]`, families: []corev1.IPFamily{e2e.IPv6}, want: []string{"fd00:1::/116"}},
		{name: "ipv6 range", pool: `["fd00:2::1-fd00:2::9"]`, families: []corev1.IPFamily{e2e.IPv6}, want: []string{"fd00:2::1-fd00:2::9"}},
		{
			name: "dual-stack prefixes", pool: `[192.0.2.128/28, "fd00:3::/116"]`,
			families: []corev1.IPFamily{e2e.IPv4, e2e.IPv6}, want: []string{"192.0.2.128/28", "fd00:3::/116"},
		},
		{
			name: "dual-stack ranges", pool: `[192.0.2.150-192.0.2.159, "fd00:4::1-fd00:4::9"]`,
			families: []corev1.IPFamily{e2e.IPv4, e2e.IPv6}, want: []string{"192.0.2.150-192.0.2.159", "fd00:4::1-fd00:4::9"},
		},
		{
			name: "ipv4 on request", pool: "[192.0.2.160/28]", families: []corev1.IPFamily{e2e.IPv4},
			annotations: map[string]string{"metallb.io/loadBalancerIPs": "192.0.2.170"},
			want:        []string{"192.0.2.170/32"},
		},
		{
			name: "dual-stack on request", pool: `[192.0.2.176/28, "fd00:5::/116"]`, families: []corev1.IPFamily{e2e.IPv4, e2e.IPv6},
			annotations: map[string]string{"metallb.universe.tf/loadBalancerIPs": "192.0.2.180,fd00:5::18"},
			want:        []string{"192.0.2.180/32", "fd00:5::18/128"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := e2e.New(t)
			e.Configure(e2e.BGPPools("- {name: p, protocol: bgp, addresses: " + test.pool + "}"))
			opts := controlplane.ServiceOptions{Name: "web", Families: test.families, Annotations: test.annotations}
			if len(test.families) > 1 {
				opts.FamilyPolicy = corev1.IPFamilyPolicyRequireDualStack
			}
			addrs := e.Expose(opts)
			if len(addrs) != len(test.want) {
				t.Fatalf("got addresses %v, want one from each of %v", addrs, test.want)
			}
			for i, a := range addrs {
				if err := e2e.InRange(a, test.want[i]); err != nil {
					t.Error(err)
				}
				e.Announced(e2e.Route(a))
				e.Reached(a)
			}
			if err := e.Cluster.DeleteService(t.Context(), e.Namespace, "web"); err != nil {
				t.Fatal(err)
			}
			for _, a := range addrs {
				e.Withdrawn(e2e.Route(a))
			}
		})
	}
}

// A ConfigMap's one router, with a session over either family, has the routes of
// both, as with MetalLB v0.12.
func TestBGPOneRouter(t *testing.T) {
	for i, router := range []string{"10.10.0.254", "fd00:10:10::254"} {
		t.Run([]string{"ipv4", "ipv6"}[i], func(t *testing.T) {
			e := e2e.New(t)
			e.Configure(fmt.Sprintf(`
peers: [{my-asn: 64512, peer-asn: 64513, peer-address: %q}]
address-pools: [{name: p, protocol: bgp, addresses: [198.51.100.%d/29, "fd00:e:%d::/120"]}]
`, router, 192+8*i, i))
			both := controlplane.ServiceOptions{Name: "web", Families: []corev1.IPFamily{e2e.IPv4, e2e.IPv6}, FamilyPolicy: corev1.IPFamilyPolicyRequireDualStack}
			for _, a := range e.Expose(both) {
				e.InKernel(e2e.Route(a), e.Nodes)
				e.Reached(a)
			}
		})
	}
}

func TestBGPLocalPolicy(t *testing.T) {
	// Acceptance: B013-B015.
	for name, families := range map[string][]corev1.IPFamily{"ipv4": {e2e.IPv4}, "ipv6": {e2e.IPv6}, "dual-stack": {e2e.IPv4, e2e.IPv6}} {
		t.Run(name, func(t *testing.T) {
			e := e2e.New(t)
			e.Configure(e2e.BGPPools(`- {name: p, protocol: bgp, addresses: [198.51.100.0/28, "fd00:6::/116"]}`))
			opts := controlplane.ServiceOptions{Name: "web", Families: families, Local: true}
			if len(families) > 1 {
				opts.FamilyPolicy = corev1.IPFamilyPolicyRequireDualStack
			}
			n1, n2, n3 := e.Nodes[0], e.Nodes[1], e.Nodes[2]
			for _, a := range e.Expose(opts, n1, n3) {
				e.Announced(e2e.Route(a), n1, n3)
				e.Reached(a, n1, n3)
			}
			opts.Namespace = e.Namespace
			if err := e.SetBackends(t.Context(), opts, n2); err != nil {
				t.Fatal(err)
			}
			addrs, err := e.Cluster.WaitAddress(t.Context(), e.Namespace, "web")
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range addrs {
				e.Announced(e2e.Route(a), n2)
				e.Reached(a, n2)
			}
		})
	}
}

// A Service with no ready backend is announced by nobody, until it has one.
func TestBGPEndpoints(t *testing.T) {
	e := e2e.New(t)
	e.Configure(e2e.BGPPools("- {name: p, protocol: bgp, addresses: [198.51.100.16/28]}"))
	addr := e.Expose(controlplane.ServiceOptions{Name: "web"}, e.Nodes[0])[0]
	e.Announced(e2e.Route(addr))

	backend := func(ready bool) {
		t.Helper()
		n := e.Nodes[0]
		err := e.Cluster.SetBackends(t.Context(), e.Namespace, "web", nil, []controlplane.BackendPod{
			{Node: n.Name, IPs: []netip.Addr{n.Pod4, n.Pod6}, Ready: ready},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	backend(false)
	e.Withdrawn(e2e.Route(addr))
	backend(true)
	e.Announced(e2e.Route(addr))
}

// Nodes without a network, and nodes that are labelled so, do not announce.
//
// Acceptance: B012.
func TestBGPNode(t *testing.T) {
	e := e2e.New(t)
	e.Configure(e2e.BGPPools("- {name: p, protocol: bgp, addresses: [198.51.100.32/28]}"))
	addr := e.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	e.Announced(e2e.Route(addr))
	const exclude = "node.kubernetes.io/exclude-from-external-load-balancers"
	n1, n2, n3 := e.Nodes[0], e.Nodes[1], e.Nodes[2]
	steps := []struct {
		name string
		do   func(ctx context.Context) error
		want []*lab.Node
	}{
		{"network unavailable", func(ctx context.Context) error {
			return e.Cluster.SetNodeCondition(ctx, n1.Name, corev1.NodeNetworkUnavailable, true)
		}, []*lab.Node{n2, n3}},
		{"another excluded", func(ctx context.Context) error {
			return e.Cluster.LabelNode(ctx, n2.Name, exclude, "")
		}, []*lab.Node{n3}},
		{"network available", func(ctx context.Context) error {
			return e.Cluster.SetNodeCondition(ctx, n1.Name, corev1.NodeNetworkUnavailable, false)
		}, []*lab.Node{n1, n3}},
		{"excluded no more", func(ctx context.Context) error {
			return e.Cluster.UnlabelNode(ctx, n2.Name, exclude)
		}, []*lab.Node{n1, n2, n3}},
	}
	for _, step := range steps {
		if err := step.do(t.Context()); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		t.Log(step.name)
		e.Announced(e2e.Route(addr), step.want...)
	}
	e.Reached(addr)
}

// Acceptance: B018, B019.
func TestBGPSharedAddress(t *testing.T) {
	for name, test := range map[string]struct {
		pool, address string
		family        corev1.IPFamily
	}{
		"ipv4": {"[198.51.100.48/28]", "198.51.100.50", e2e.IPv4},
		"ipv6": {`["fd00:7::/116"]`, "fd00:7::50", e2e.IPv6},
	} {
		t.Run(name, func(t *testing.T) {
			e := e2e.New(t)
			e.Configure(e2e.BGPPools("- {name: p, protocol: bgp, addresses: " + test.pool + "}"))
			for i, port := range []int32{80, 81} {
				got := e.Expose(controlplane.ServiceOptions{
					Name:        fmt.Sprintf("web-%d", i),
					Address:     test.address,
					Families:    []corev1.IPFamily{test.family},
					Annotations: map[string]string{"metallb.io/allow-shared-ip": "key"},
					Ports:       []corev1.ServicePort{e2e.ServicePort(port)},
				})
				if want := []netip.Addr{netip.MustParseAddr(test.address)}; !slices.Equal(got, want) {
					t.Fatalf("web-%d has %v, want %v", i, got, want)
				}
			}
			e.Announced(e2e.Route(netip.MustParseAddr(test.address)))
			// The address stays as long as one of them has it.
			if err := e.Cluster.DeleteService(t.Context(), e.Namespace, "web-1"); err != nil {
				t.Fatal(err)
			}
			e.Reached(netip.MustParseAddr(test.address))
			e.Announced(e2e.Route(netip.MustParseAddr(test.address)))
		})
	}
}

// Pools and Services that are added step by step leave earlier ones alone.
//
// Acceptance: B043, B044.
func TestBGPStepByStep(t *testing.T) {
	e := e2e.New(t)
	var pools string
	var have []netip.Addr
	for i := range 3 {
		pools += fmt.Sprintf("- {name: p%d, protocol: bgp, addresses: [198.51.100.%d/31, 'fd00:8:%d::/120']}\n", i, 64+2*i, i)
		e.Configure(e2e.BGPPools(pools))
		name := fmt.Sprintf("web-%d", i)
		have = append(have, e.Expose(controlplane.ServiceOptions{
			Name:         name,
			FamilyPolicy: corev1.IPFamilyPolicyRequireDualStack,
			Families:     []corev1.IPFamily{e2e.IPv4, e2e.IPv6},
			Annotations:  map[string]string{"metallb.io/address-pool": fmt.Sprintf("p%d", i)},
		})...)
		for j := range i + 1 {
			now, err := e.Cluster.WaitAddress(t.Context(), e.Namespace, fmt.Sprintf("web-%d", j))
			if err != nil {
				t.Fatal(err)
			}
			if want := have[2*j : 2*j+2]; !slices.Equal(now, want) {
				t.Fatalf("after step %d web-%d has %v, had %v", i, j, now, want)
			}
		}
		for _, a := range have {
			e.Announced(e2e.Route(a))
			e.Reached(a)
		}
	}
}

// A pool whose address moves to another protocol is withdrawn; an edited pool
// moves the Service.
func TestBGPPoolEdited(t *testing.T) {
	e := e2e.New(t)
	e.Configure(e2e.BGPPools("- {name: old, protocol: bgp, addresses: [198.51.100.80/30]}"))
	before := e.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	e.Announced(e2e.Route(before))

	e.Configure(e2e.BGPPools("- {name: new, protocol: bgp, addresses: [198.51.100.80/30]}"))
	e.Eventually("pool renamed", func(ctx context.Context) error {
		svc, err := e.Cluster.WaitService(ctx, e.Namespace, "web", func(s *corev1.Service) bool {
			return s.Annotations["metallb.io/ip-allocated-from-pool"] == "new"
		})
		if err == nil && svc.Status.LoadBalancer.Ingress[0].IP != before.String() {
			t.Fatalf("the address changed to %v when its pool was renamed", svc.Status.LoadBalancer.Ingress)
		}
		return err
	})
	e.Announced(e2e.Route(before))

	e.Configure(e2e.BGPPools("- {name: new, protocol: bgp, addresses: [198.51.100.88/30]}"))
	e.Withdrawn(e2e.Route(before))
	after, err := e.Cluster.WaitAddress(t.Context(), e.Namespace, "web")
	if err != nil {
		t.Fatal(err)
	}
	if err := e2e.InRange(after[0], "198.51.100.88/30"); err != nil {
		t.Fatal(err)
	}
	e.Announced(e2e.Route(after[0]))
	e.Reached(after[0])
}
