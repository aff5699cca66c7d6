// SPDX-License-Identifier: Apache-2.0

package bgp_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// carries waits until a GoBGP has the route from every node with exactly these
// attributes.
func carries(e *e2e.Test, g *lab.GoBGP, p netip.Prefix, want e2e.Attributes) {
	e.T.Helper()
	e.Eventually("attributes of "+p.String(), func(context.Context) error {
		for _, path := range e.Learned(g, p, e.Nodes) {
			if diff := cmp.Diff(want, e2e.AttributesOf(path)); diff != "" {
				return fmt.Errorf("from %s (-want +got):\n%s", path.Peer, diff)
			}
		}
		return nil
	})
}

// Acceptance: B047-B049, B053, B058.
func TestBGPAttributes(t *testing.T) {
	tests := []struct {
		name     string
		ads      string
		families []corev1.IPFamily
		ibgp     e2e.Attributes
		ebgp     e2e.Attributes
	}{
		{
			name: "ipv4 community and localpref", ads: "[{communities: [65010:7], localpref: 150}]", families: []corev1.IPFamily{e2e.IPv4},
			ibgp: e2e.Attributes{Communities: []string{"65010:7"}, LocalPref: 150},
			ebgp: e2e.Attributes{Communities: []string{"65010:7"}},
		},
		{
			name: "ipv4 localpref", ads: "[{localpref: 300}]", families: []corev1.IPFamily{e2e.IPv4},
			ibgp: e2e.Attributes{LocalPref: 300},
		},
		{
			name: "ipv4 named community", ads: "[{communities: [mine, 65010:8]}]", families: []corev1.IPFamily{e2e.IPv4},
			ibgp: e2e.Attributes{Communities: []string{"65010:8", "65010:9"}, LocalPref: e2e.DefaultLocalPref},
			ebgp: e2e.Attributes{Communities: []string{"65010:8", "65010:9"}},
		},
		{
			name: "ipv4 large community and localpref", ads: "[{communities: ['large:65010:1:2'], localpref: 150}]", families: []corev1.IPFamily{e2e.IPv4},
			ibgp: e2e.Attributes{Large: []string{"65010:1:2"}, LocalPref: 150},
			ebgp: e2e.Attributes{Large: []string{"65010:1:2"}},
		},
		{
			name: "ipv6 community and localpref", ads: "[{communities: [65010:7], localpref: 150}]", families: []corev1.IPFamily{e2e.IPv6},
			ibgp: e2e.Attributes{Communities: []string{"65010:7"}, LocalPref: 150},
			ebgp: e2e.Attributes{Communities: []string{"65010:7"}},
		},
		{
			name: "ipv6 large community", ads: "[{communities: ['large:65010:1:2', 65010:1]}]", families: []corev1.IPFamily{e2e.IPv6},
			ibgp: e2e.Attributes{Communities: []string{"65010:1"}, Large: []string{"65010:1:2"}, LocalPref: e2e.DefaultLocalPref},
			ebgp: e2e.Attributes{Communities: []string{"65010:1"}, Large: []string{"65010:1:2"}},
		},
		{
			name: "two advertisements of one route", ads: "[{communities: [65010:1]}, {communities: [65010:2]}]", families: []corev1.IPFamily{e2e.IPv4},
			ibgp: e2e.Attributes{Communities: []string{"65010:1", "65010:2"}, LocalPref: e2e.DefaultLocalPref},
			ebgp: e2e.Attributes{Communities: []string{"65010:1", "65010:2"}},
		},
		{
			name: "local preference of one of two", ads: "[{communities: [65010:1], localpref: 150}, {communities: [65010:2]}]", families: []corev1.IPFamily{e2e.IPv6},
			ibgp: e2e.Attributes{Communities: []string{"65010:1", "65010:2"}, LocalPref: 150},
			ebgp: e2e.Attributes{Communities: []string{"65010:1", "65010:2"}},
		},
		{
			name: "the highest local preference", ads: "[{localpref: 150}, {localpref: 90, aggregation-length: 29}]", families: []corev1.IPFamily{e2e.IPv6},
			ibgp: e2e.Attributes{LocalPref: 150},
		},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := e2e.New(t)
			e.Configure(e2e.BGPPools(fmt.Sprintf(
				"- {name: p, protocol: bgp, addresses: [203.0.113.%d/29, 'fd00:9:%d::/120'], bgp-advertisements: %s}\nbgp-communities: {mine: 65010:9}\n",
				8*i, i, test.ads)))
			addr := e.Expose(controlplane.ServiceOptions{Name: "web", Families: test.families})[0]
			carries(e, e.IBGP, e2e.Route(addr), test.ibgp)
			carries(e, e.EBGP, e2e.Route(addr), test.ebgp)
		})
	}
}

// Every attribute of an advertisement can be edited while the route is there.
//
// Acceptance: B059, B060.
func TestBGPAdvertisementEdited(t *testing.T) {
	for name, test := range map[string]struct {
		pool                string
		family              corev1.IPFamily
		aggregation         string
		aggregate, unwanted func(netip.Addr) netip.Prefix
	}{
		"ipv4": {"[203.0.113.64/26]", e2e.IPv4, "aggregation-length: 26", truncate(26), e2e.Route},
		"ipv6": {`["fd00:a::/120"]`, e2e.IPv6, "aggregation-length-v6: 120", truncate(120), e2e.Route},
	} {
		t.Run(name, func(t *testing.T) {
			e := e2e.New(t)
			pool := "- {name: p, protocol: bgp, addresses: " + test.pool + ", bgp-advertisements: "
			e.Configure(e2e.BGPPools(pool + "[{communities: [65010:1], localpref: 200}]}"))
			addr := e.Expose(controlplane.ServiceOptions{Name: "web", Families: []corev1.IPFamily{test.family}})[0]
			carries(e, e.IBGP, e2e.Route(addr), e2e.Attributes{Communities: []string{"65010:1"}, LocalPref: 200})
			before := e.Connections()

			e.Configure(e2e.BGPPools(pool + "[{communities: [65010:1], localpref: 300}]}"))
			carries(e, e.IBGP, e2e.Route(addr), e2e.Attributes{Communities: []string{"65010:1"}, LocalPref: 300})

			e.Configure(e2e.BGPPools(pool + "[{communities: [65010:2, 65010:3], localpref: 300}]}"))
			carries(e, e.IBGP, e2e.Route(addr), e2e.Attributes{Communities: []string{"65010:2", "65010:3"}, LocalPref: 300})

			e.Configure(e2e.BGPPools(pool + "[{" + test.aggregation + ", localpref: 300}]}"))
			e.Announced(test.aggregate(addr))
			e.Withdrawn(test.unwanted(addr))
			e.Reached(addr)
			if diff := cmp.Diff(before, e.Connections()); diff != "" {
				t.Errorf("sessions were reset (-before +after):\n%s", diff)
			}
		})
	}
}

func truncate(bits int) func(netip.Addr) netip.Prefix {
	return func(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, bits).Masked() }
}

// An aggregate is announced once for all its Services, and goes with the last.
func TestBGPAggregate(t *testing.T) {
	e := e2e.New(t)
	e.Configure(e2e.BGPPools(`- {name: p, protocol: bgp, addresses: [203.0.113.128/26], bgp-advertisements: [{aggregation-length: 26}]}`))
	aggregate := netip.MustParsePrefix("203.0.113.128/26")
	first, second := e.Expose(controlplane.ServiceOptions{Name: "a"})[0], e.Expose(controlplane.ServiceOptions{Name: "b"})[0]
	e.Announced(aggregate)
	e.Reached(first)
	e.Reached(second)
	if err := e.Cluster.DeleteService(t.Context(), e.Namespace, "a"); err != nil {
		t.Fatal(err)
	}
	e.Reached(second)
	e.Announced(aggregate)
	if err := e.Cluster.DeleteService(t.Context(), e.Namespace, "b"); err != nil {
		t.Fatal(err)
	}
	e.Withdrawn(aggregate)
}

// What a router announces reaches neither the nodes nor another router.
//
// Acceptance: B061, B062.
func TestBGPAcceptsNothing(t *testing.T) {
	e := e2e.New(t)
	e.Configure(e2e.BGPPools("- {name: p, protocol: bgp, addresses: [203.0.113.192/28]}"))
	addr := e.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	e.Announced(e2e.Route(addr))
	foreign := []netip.Prefix{netip.MustParsePrefix("100.64.1.0/24"), netip.MustParsePrefix("fd00:b::/64")}
	for _, p := range foreign {
		if err := e.EBGP.Inject(t.Context(), p, e2e.InjectedHop(p)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := e.EBGP.Retract(context.Background(), p, e2e.InjectedHop(p)); err != nil {
				t.Error(err)
			}
		})
	}
	for _, n := range e.Nodes {
		for _, p := range foreign {
			e2e.Hears(t, n, 64512, e2e.InjectedHop(p), p)
			e2e.Refuses(t, n, e2e.InjectedHop(p))
		}
	}
	// A further Service's route shows that the nodes have had the time to pass them on.
	second := e.Expose(controlplane.ServiceOptions{Name: "second"})[0]
	e.Announced(e2e.Route(second))
	for _, n := range e.Nodes {
		for _, p := range foreign {
			cmd := "show bgp ipv4 unicast " + p.String() + " json"
			if p.Addr().Is6() {
				cmd = "show bgp ipv6 unicast " + p.String() + " json"
			}
			out, err := n.FRR.Vtysh(t.Context(), cmd)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(out, `"paths"`) {
				t.Errorf("%s accepted %s: %s", n.Name, p, out)
			}
			routes, err := n.Routes()
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := routes[p]; ok {
				t.Errorf("%s has a route to %s", n.Name, p)
			}
		}
	}
	paths, err := e.IBGP.Paths(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if slices.Contains(foreign, path.Prefix) {
			t.Errorf("%s passed %s on", path.Peer, path.Prefix)
		}
	}
}
