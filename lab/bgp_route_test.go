// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/google/go-cmp/cmp"
	"github.com/heraldlb/herald/lab"
)

func intOrString(port int32) intstr.IntOrString { return intstr.FromInt32(port) }

// Attributes are what a route carries to a router.
type attributes struct {
	Communities, Large []string
	LocalPref          uint32 // 0: none
}

func attributesOf(p lab.Path) attributes {
	a := attributes{Communities: slices.Sorted(slices.Values(p.Communities)), Large: slices.Sorted(slices.Values(p.LargeCommunities))}
	if p.LocalPref != nil {
		a.LocalPref = *p.LocalPref
	}
	return a
}

// carries waits until a GoBGP has the route from every node with exactly these
// attributes.
func (e *e2e) carries(g *lab.GoBGP, p netip.Prefix, want attributes) {
	e.t.Helper()
	e.eventually("attributes of "+p.String(), func(context.Context) error {
		for _, path := range e.learned(g, p, e.Nodes) {
			if diff := cmp.Diff(want, attributesOf(path)); diff != "" {
				return fmt.Errorf("from %s (-want +got):\n%s", path.Peer, diff)
			}
		}
		return nil
	})
}

// defaultLocalPref is what FRR tells iBGP peers when nothing else is configured.
const defaultLocalPref = 100

// Acceptance: B047-B049, B053, B058.
func TestBGPAttributes(t *testing.T) {
	tests := []struct {
		name     string
		ads      string
		families []corev1.IPFamily
		ibgp     attributes
		ebgp     attributes
	}{
		{
			name: "ipv4 community and localpref", ads: "[{communities: [65010:7], localpref: 150}]", families: []corev1.IPFamily{v4},
			ibgp: attributes{Communities: []string{"65010:7"}, LocalPref: 150},
			ebgp: attributes{Communities: []string{"65010:7"}},
		},
		{
			name: "ipv4 localpref", ads: "[{localpref: 300}]", families: []corev1.IPFamily{v4},
			ibgp: attributes{LocalPref: 300},
		},
		{
			name: "ipv4 named community", ads: "[{communities: [mine, 65010:8]}]", families: []corev1.IPFamily{v4},
			ibgp: attributes{Communities: []string{"65010:8", "65010:9"}, LocalPref: defaultLocalPref},
			ebgp: attributes{Communities: []string{"65010:8", "65010:9"}},
		},
		{
			name: "ipv4 large community and localpref", ads: "[{communities: ['large:65010:1:2'], localpref: 150}]", families: []corev1.IPFamily{v4},
			ibgp: attributes{Large: []string{"65010:1:2"}, LocalPref: 150},
			ebgp: attributes{Large: []string{"65010:1:2"}},
		},
		{
			name: "ipv6 community and localpref", ads: "[{communities: [65010:7], localpref: 150}]", families: []corev1.IPFamily{v6},
			ibgp: attributes{Communities: []string{"65010:7"}, LocalPref: 150},
			ebgp: attributes{Communities: []string{"65010:7"}},
		},
		{
			name: "ipv6 large community", ads: "[{communities: ['large:65010:1:2', 65010:1]}]", families: []corev1.IPFamily{v6},
			ibgp: attributes{Communities: []string{"65010:1"}, Large: []string{"65010:1:2"}, LocalPref: defaultLocalPref},
			ebgp: attributes{Communities: []string{"65010:1"}, Large: []string{"65010:1:2"}},
		},
		{
			name: "two advertisements of one route", ads: "[{communities: [65010:1]}, {communities: [65010:2]}]", families: []corev1.IPFamily{v4},
			ibgp: attributes{Communities: []string{"65010:1", "65010:2"}, LocalPref: defaultLocalPref},
			ebgp: attributes{Communities: []string{"65010:1", "65010:2"}},
		},
		{
			name: "local preference of one of two", ads: "[{communities: [65010:1], localpref: 150}, {communities: [65010:2]}]", families: []corev1.IPFamily{v6},
			ibgp: attributes{Communities: []string{"65010:1", "65010:2"}, LocalPref: 150},
			ebgp: attributes{Communities: []string{"65010:1", "65010:2"}},
		},
		{
			name: "the highest local preference", ads: "[{localpref: 150}, {localpref: 90, aggregation-length: 29}]", families: []corev1.IPFamily{v6},
			ibgp: attributes{LocalPref: 150},
		},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := newE2E(t)
			e.configure(bgpPools(fmt.Sprintf(
				"- {name: p, protocol: bgp, addresses: [203.0.113.%d/29, 'fd00:9:%d::/120'], bgp-advertisements: %s}\nbgp-communities: {mine: 65010:9}\n",
				8*i, i, test.ads)))
			addr := e.expose(lab.ServiceOptions{Name: "web", Families: test.families})[0]
			e.carries(e.ibgp, route(addr), test.ibgp)
			e.carries(e.ebgp, route(addr), test.ebgp)
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
		"ipv4": {"[203.0.113.64/26]", v4, "aggregation-length: 26", truncate(26), route},
		"ipv6": {`["fd00:a::/120"]`, v6, "aggregation-length-v6: 120", truncate(120), route},
	} {
		t.Run(name, func(t *testing.T) {
			e := newE2E(t)
			pool := "- {name: p, protocol: bgp, addresses: " + test.pool + ", bgp-advertisements: "
			e.configure(bgpPools(pool + "[{communities: [65010:1], localpref: 200}]}"))
			addr := e.expose(lab.ServiceOptions{Name: "web", Families: []corev1.IPFamily{test.family}})[0]
			e.carries(e.ibgp, route(addr), attributes{Communities: []string{"65010:1"}, LocalPref: 200})
			before := e.connections()

			e.configure(bgpPools(pool + "[{communities: [65010:1], localpref: 300}]}"))
			e.carries(e.ibgp, route(addr), attributes{Communities: []string{"65010:1"}, LocalPref: 300})

			e.configure(bgpPools(pool + "[{communities: [65010:2, 65010:3], localpref: 300}]}"))
			e.carries(e.ibgp, route(addr), attributes{Communities: []string{"65010:2", "65010:3"}, LocalPref: 300})

			e.configure(bgpPools(pool + "[{" + test.aggregation + ", localpref: 300}]}"))
			e.announced(test.aggregate(addr))
			e.withdrawn(test.unwanted(addr))
			e.reached(addr)
			if diff := cmp.Diff(before, e.connections()); diff != "" {
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
	e := newE2E(t)
	e.configure(bgpPools(`- {name: p, protocol: bgp, addresses: [203.0.113.128/26], bgp-advertisements: [{aggregation-length: 26}]}`))
	aggregate := netip.MustParsePrefix("203.0.113.128/26")
	first, second := e.expose(lab.ServiceOptions{Name: "a"})[0], e.expose(lab.ServiceOptions{Name: "b"})[0]
	e.announced(aggregate)
	e.reached(first)
	e.reached(second)
	if err := e.Cluster.DeleteService(t.Context(), e.namespace, "a"); err != nil {
		t.Fatal(err)
	}
	e.reached(second)
	e.announced(aggregate)
	if err := e.Cluster.DeleteService(t.Context(), e.namespace, "b"); err != nil {
		t.Fatal(err)
	}
	e.withdrawn(aggregate)
}

// What a router announces reaches neither the nodes nor another router.
//
// Acceptance: B061, B062.
func TestBGPAcceptsNothing(t *testing.T) {
	e := newE2E(t)
	e.configure(bgpPools("- {name: p, protocol: bgp, addresses: [203.0.113.192/28]}"))
	addr := e.expose(lab.ServiceOptions{Name: "web"})[0]
	e.announced(route(addr))
	foreign := []netip.Prefix{netip.MustParsePrefix("100.64.1.0/24"), netip.MustParsePrefix("fd00:b::/64")}
	for _, p := range foreign {
		if err := e.ebgp.Inject(t.Context(), p, injectedHop(p)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := e.ebgp.Retract(context.Background(), p, injectedHop(p)); err != nil {
				t.Error(err)
			}
		})
	}
	for _, n := range e.Nodes {
		for _, p := range foreign {
			hears(t, n, 64512, injectedHop(p), p)
			refuses(t, n, injectedHop(p))
		}
	}
	// A further Service's route shows that the nodes have had the time to pass them on.
	second := e.expose(lab.ServiceOptions{Name: "second"})[0]
	e.announced(route(second))
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
	paths, err := e.ibgp.Paths(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if slices.Contains(foreign, path.Prefix) {
			t.Errorf("%s passed %s on", path.Peer, path.Prefix)
		}
	}
}

// injectedHop is a next hop for a route that a test injects.
func injectedHop(p netip.Prefix) netip.Addr {
	if p.Addr().Is4() {
		return ebgp4
	}
	return ebgp6
}
