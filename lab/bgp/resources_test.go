// SPDX-License-Identifier: Apache-2.0

package bgp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// A routing is all that routers have learned, a line for each route and set of
// attributes: "ipv4 web from n1 n2 with 65010:1 pref 150". A route is called by
// the Service or pool whose it is. Of r1, lines tell the nodes alone.
type routing struct{ ibgp, ebgp, r1 []string }

// everywhere is the routing in which all routers have learned the same.
func everywhere(lines ...string) routing { return routing{lines, lines, withoutAttributes(lines)} }

// withoutAttributes returns lines as r1's are.
func withoutAttributes(lines []string) []string {
	nodes := map[string][]string{}
	for _, l := range lines {
		l, _, _ = strings.Cut(l, " with ")
		name, from, _ := strings.Cut(l, " from ")
		nodes[name] = append(nodes[name], strings.Fields(from)...)
	}
	return joinNodes(nodes, nil)
}

// joinNodes makes lines of the nodes that announce a route, and of what each of
// these routes has beside.
func joinNodes(nodes map[string][]string, rest map[string]string) []string {
	var out []string
	for key, from := range nodes {
		name, _, _ := strings.Cut(key, "|")
		slices.Sort(from)
		out = append(out, name+" from "+strings.Join(slices.Compact(from), " ")+rest[key])
	}
	slices.Sort(out)
	return out
}

// of returns a routing that is the same for several families.
func (w routing) of(families []corev1.IPFamily) routing {
	each := func(lines []string) []string {
		var out []string
		for _, f := range families {
			for _, l := range lines {
				out = append(out, strings.ToLower(string(f))+" "+l)
			}
		}
		return out
	}
	return routing{each(w.ibgp), each(w.ebgp), each(w.r1)}
}

// A routeTest edits resources, Services and Nodes, and looks at what routers
// learn. Among the Services is a canary, whose community says how far Herald and
// the routers have come: what else they have learned is then more than what they
// knew before.
type routeTest struct {
	*e2e.Resources
	names  map[netip.Prefix]string
	canary netip.Prefix
	step   int
}

// routePools are the pools of a routeTest; their names are those of the aggregates
// that are all of a pool.
const routePools = `
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: one, labels: {tier: one}}, spec: {addresses: [10.250.1.0/24, "fd00:250:1::/120"], autoAssign: false}}
---
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: two, labels: {tier: two}}, spec: {addresses: [10.250.2.0/24, "fd00:250:2::/120"], autoAssign: false}}
---
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: canary}, spec: {addresses: [10.250.3.0/32]}}
`

func newRouteTest(t *testing.T) *routeTest {
	t.Helper()
	r := &routeTest{Resources: e2e.NewResources(t)}
	r.DeleteConfigMap()
	r.Apply(e2e.PeerResources + "---" + routePools + "---\n" + canary(0))
	r.canary = e2e.Route(r.Expose(controlplane.ServiceOptions{Name: "canary"})[0])
	r.Announced(r.canary)
	r.forget()
	for _, n := range r.Nodes {
		if err := r.Cluster.LabelNode(t.Context(), n.Name, "kubernetes.io/hostname", n.Name); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := r.Cluster.UnlabelNode(context.Background(), n.Name, "zone"); err != nil {
				t.Error(err)
			}
		})
	}
	return r
}

// forget is for the time when there are no Services.
func (r *routeTest) forget() {
	r.names = map[netip.Prefix]string{}
	for prefix, pool := range map[string]string{
		"10.250.1.0/24": "one", "fd00:250:1::/120": "one", "10.250.2.0/24": "two", "fd00:250:2::/120": "two",
	} {
		r.names[netip.MustParsePrefix(prefix)] = "all of " + pool
	}
}

func canary(step int) string {
	return fmt.Sprintf(`{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: canary}, spec: {ipAddressPools: [canary], communities: ["65000:%d"]}}`, step)
}

// serve makes a Service with an address of a pool for each family. Its routes are called
// by the name of s.
func (r *routeTest) serve(service string, s routeService, families []corev1.IPFamily) {
	r.T.Helper()
	opts := controlplane.ServiceOptions{Name: service, Families: families, Annotations: map[string]string{"metallb.io/address-pool": s.pool}}
	if s.app != "" {
		opts.Labels = map[string]string{"app": s.app}
	}
	if len(families) > 1 {
		opts.FamilyPolicy = corev1.IPFamilyPolicyRequireDualStack
	}
	addrs := r.Expose(opts)
	if len(addrs) != len(families) {
		r.T.Fatalf("%s has %v, want %v", service, addrs, families)
	}
	for _, a := range addrs {
		r.names[e2e.Route(a)] = s.name
	}
}

// label sets the label app of a Service.
func (r *routeTest) label(service, app string) {
	r.T.Helper()
	patch := fmt.Sprintf(`{"metadata":{"labels":{"app":%q}}}`, app)
	_, err := r.Cluster.Client().CoreV1().Services(r.Namespace).Patch(r.T.Context(), service, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		r.T.Fatal(err)
	}
}

// advertise makes these the advertisements that there are, beside the canary's.
func (r *routeTest) advertise(specs map[string]string) {
	r.T.Helper()
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		r.Apply(fmt.Sprintf("{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: %q}, spec: {%s}}", name, specs[name]))
	}
	keepOnly(r.Resources, config.KindBGPAdvertisement, append(slices.Collect(maps.Keys(specs)), "canary"))
	for name := range specs {
		r.Accepted(config.KindBGPAdvertisement, name)
	}
}

// keepOnly deletes the objects of a kind that have other names.
func keepOnly(r *e2e.Resources, kind string, names []string) {
	r.T.Helper()
	o := new(unstructured.Unstructured)
	o.SetGroupVersionKind(e2e.KindOf(kind))
	list, err := r.Of(o).List(r.T.Context(), metav1.ListOptions{})
	if err != nil {
		r.T.Fatal(err)
	}
	for _, have := range list.Items {
		if !slices.Contains(names, have.GetName()) {
			r.Delete(kind, have.GetName())
		}
	}
}

// settle waits until the routers have learned what Herald makes of all that was
// written before.
func (r *routeTest) settle() {
	r.T.Helper()
	r.step++
	r.Apply(canary(r.step))
	for _, g := range []*lab.GoBGP{r.IBGP, r.EBGP} {
		r.Eventually("the canary", func(ctx context.Context) error {
			n := 0
			paths, err := g.Paths(ctx)
			for _, p := range paths {
				if p.Prefix == r.canary && slices.Contains(p.Communities, fmt.Sprint("65000:", r.step)) {
					n++
				}
			}
			if err == nil && n == 0 {
				err = fmt.Errorf("not there")
			}
			return err
		})
	}
}

// routes waits until the routers have learned exactly this.
func (r *routeTest) routes(what string, want routing) {
	r.T.Helper()
	for _, lines := range [][]string{want.ibgp, want.ebgp, want.r1} {
		slices.Sort(lines)
	}
	r.Eventually(what, func(ctx context.Context) error {
		var got routing
		for g, lines := range map[*lab.GoBGP]*[]string{r.IBGP: &got.ibgp, r.EBGP: &got.ebgp} {
			paths, err := g.Paths(ctx)
			if err != nil {
				return err
			}
			*lines = r.lines(paths)
		}
		var err error
		if got.r1, err = r.routerLines(ctx); err != nil {
			return err
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(routing{}), e2e.Values); diff != "" {
			return fmt.Errorf("learned (-want +got):\n%s", diff)
		}
		return nil
	})
}

// lines describes what a GoBGP has learned.
func (r *routeTest) lines(paths []lab.Path) []string {
	nodes, rest := map[string][]string{}, map[string]string{}
	for _, p := range paths {
		if p.Prefix == r.canary {
			continue
		}
		var more string
		if p.Peer.Is4() != p.Prefix.Addr().Is4() {
			more += " over " + family(p.Peer)
		}
		a := e2e.AttributesOf(p)
		if all := slices.Concat(a.Communities, a.Large); len(all) > 0 {
			more += " with " + strings.Join(all, " ")
		}
		if p.LocalPref != nil && *p.LocalPref != e2e.DefaultLocalPref {
			more += fmt.Sprint(" pref ", *p.LocalPref)
		}
		if p.MED != nil && *p.MED != 0 {
			more += fmt.Sprint(" med ", *p.MED)
		}
		if len(p.ASPath) > 1 { // our AS once is what every external router sees
			more += " path " + strings.Trim(fmt.Sprint(p.ASPath), "[]")
		}
		key := r.nameOf(p.Prefix) + "|" + more
		nodes[key] = append(nodes[key], r.nodeOf(p.NextHop))
		rest[key] = more
	}
	return joinNodes(nodes, rest)
}

// routerLines describes what r1 has learned.
func (r *routeTest) routerLines(ctx context.Context) ([]string, error) {
	nodes := map[string][]string{}
	for _, family := range []string{"ipv4", "ipv6"} {
		out, err := r.Router.FRR.Vtysh(ctx, "show bgp "+family+" unicast json")
		if err != nil {
			return nil, err
		}
		var table struct {
			Routes map[string][]struct{ PeerID string }
		}
		if err := json.Unmarshal([]byte(out), &table); err != nil {
			return nil, fmt.Errorf("routes of r1: %w", err)
		}
		for text, paths := range table.Routes {
			prefix, err := netip.ParsePrefix(text)
			if err != nil {
				return nil, err
			}
			if prefix == r.canary {
				continue
			}
			for _, p := range paths {
				peer, err := netip.ParseAddr(p.PeerID)
				if err != nil {
					return nil, err
				}
				nodes[r.nameOf(prefix)] = append(nodes[r.nameOf(prefix)], r.nodeOf(peer))
			}
		}
	}
	return joinNodes(nodes, nil), nil
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "ipv4"
	}
	return "ipv6"
}

func (r *routeTest) nameOf(p netip.Prefix) string {
	name := r.names[p]
	if name == "" {
		name = p.String()
	}
	return family(p.Addr()) + " " + name
}

func (r *routeTest) nodeOf(a netip.Addr) string {
	for _, n := range r.Nodes {
		if a == n.Addr4 || a == n.Addr6 {
			return n.Name
		}
	}
	return a.String()
}

// A routeCase is advertisements and Services, and the routes as they are edited.
type routeCase struct {
	name     string
	services []routeService
	steps    []routeStep
}

type routeService struct{ name, pool, app string }

// A routeStep is one edit.
type routeStep struct {
	name  string
	ads   map[string]string // if not nil: the specs of all advertisements
	alias string            // if not empty: the value of the community "mine"
	apps  map[string]string // new labels of Services
	zones map[string]string // likewise of nodes
	want  routing           // the same for each family
}

// A familyRound is the sets of families of Services that are there at the same time. No
// two have a family in common.
type familyRound [][]corev1.IPFamily

var (
	oneFamily = familyRound{{e2e.IPv4}, {e2e.IPv6}}
	dualStack = familyRound{{e2e.IPv4, e2e.IPv6}}
)

// services returns the names of the Services that a Service of a case is in a round.
func (f familyRound) services(name string) (all []string) {
	for _, families := range f {
		service := name
		for _, family := range families {
			service += "-" + strings.ToLower(string(family))
		}
		all = append(all, service)
	}
	return all
}

// run goes through cases in these rounds, while a Service that none of them is about is
// under load.
func (r *routeTest) run(cases []routeCase, rounds ...familyRound) {
	r.T.Helper()
	before := r.Connections()
	stop := r.Load(r.canary.Addr())
	for _, round := range rounds {
		for _, c := range cases {
			name := fmt.Sprintf("%s %v", c.name, round)
			for _, s := range c.services {
				for i, service := range round.services(s.name) {
					r.serve(service, s, round[i])
				}
			}
			for _, s := range c.steps {
				r.edit(s, round)
				r.settle()
				r.routes(name+": "+s.name, s.want.of(slices.Concat(round...)))
			}
			for _, s := range c.services {
				for _, service := range round.services(s.name) {
					if err := r.Cluster.DeleteService(r.T.Context(), r.Namespace, service); err != nil {
						r.T.Fatal(err)
					}
				}
			}
			r.advertise(nil)
			r.routes(name+": nothing is left", routing{})
			r.forget()
		}
	}
	stop()
	if diff := cmp.Diff(before, r.Connections()); diff != "" {
		r.T.Errorf("sessions were reset (-before +after):\n%s", diff)
	}
}

func (r *routeTest) edit(s routeStep, round familyRound) {
	r.T.Helper()
	if s.alias != "" {
		r.Apply(fmt.Sprintf("{apiVersion: metallb.io/v1beta1, kind: Community, metadata: {name: names}, spec: {communities: [{name: mine, value: %q}]}}", s.alias))
	}
	if s.ads != nil {
		r.advertise(s.ads)
	}
	for name, app := range s.apps {
		for _, service := range round.services(name) {
			r.label(service, app)
		}
	}
	for node, zone := range s.zones {
		set := r.Cluster.LabelNode
		if zone == "" {
			set = func(ctx context.Context, node, key, _ string) error { return r.Cluster.UnlabelNode(ctx, node, key) }
		}
		if err := set(r.T.Context(), node, "zone", zone); err != nil {
			r.T.Fatal(err)
		}
	}
}
