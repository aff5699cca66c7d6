// SPDX-License-Identifier: Apache-2.0

package layer2_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// layer2Ranges are where the addresses of these tests are: a range and prefixes.
var layer2Ranges = []string{"10.10.0.208-10.10.0.223", "10.10.0.224/28", "fd00:10:10::c00/120"}

// A layer2Resources is a test of layer 2 over resources. All its Services have an
// address of each family, which the nodes' election prefers n2 for, then n3, then
// n1: who answers then follows from the resources alone.
type layer2Resources struct {
	*e2e.Resources
	w     *lab.NeighborWatch
	free  [2][]netip.Addr         // that no Service has, by family
	addrs map[string][]netip.Addr // of Services
}

// newLayer2Resources returns such a test, with a pool "lan" and no advertisement.
func newLayer2Resources(t *testing.T) *layer2Resources {
	t.Helper()
	r := &layer2Resources{Resources: e2e.NewResources(t), addrs: map[string][]netip.Addr{}}
	r.DeleteConfigMap()
	r.w = r.Neighbors()
	r.free = [2][]netip.Addr{elects2(t, netip.MustParseAddr("10.10.0.208")), elects2(t, netip.MustParseAddr("fd00:10:10::c00"))}
	addresses, err := json.Marshal(layer2Ranges)
	if err != nil {
		t.Fatal(err)
	}
	r.Apply(fmt.Sprintf("{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: lan}, spec: {autoAssign: false, addresses: %s}}", addresses))
	r.Accepted(config.KindPool, "lan")
	return r
}

// elects2 returns the addresses, of the 32 from one on, that n2 is elected for, and
// n3 if n2 may not.
func elects2(t *testing.T, a netip.Addr) (found []netip.Addr) {
	t.Helper()
	for range 32 {
		if announce.Owner(a.String(), []string{"n1", "n2", "n3"}) == "n2" && announce.Owner(a.String(), []string{"n1", "n3"}) == "n3" {
			found = append(found, a)
		}
		a = a.Next()
	}
	if len(found) < 3 {
		t.Fatalf("only %v will do", found)
	}
	return found
}

// part returns the same test as a part of it that has a name of its own.
func (r *layer2Resources) part(t *testing.T) *layer2Resources {
	e, rt, part := *r.Test, *r.Resources, *r
	e.T = t
	rt.Test = &e
	part.Resources, part.addrs = &rt, map[string][]netip.Addr{}
	return &part
}

// pinned returns options that give a Service addresses which no other has.
func (r *layer2Resources) pinned(name string, labels map[string]string) controlplane.ServiceOptions {
	n := len(r.addrs)
	r.addrs[name] = []netip.Addr{r.free[0][n], r.free[1][n]}
	return controlplane.ServiceOptions{
		Name: name, Labels: labels, Families: []corev1.IPFamily{e2e.IPv4, e2e.IPv6}, FamilyPolicy: corev1.IPFamilyPolicyRequireDualStack,
		Annotations: map[string]string{"metallb.io/loadBalancerIPs": fmt.Sprintf("%s,%s", r.free[0][n], r.free[1][n])},
	}
}

// haveOwners waits until exactly these nodes answer for both addresses of Services,
// and they are reached; an empty name stands for none.
func (r *layer2Resources) haveOwners(want map[string]string) {
	r.T.Helper()
	r.Eventually("owners", func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		for service, node := range want {
			for _, a := range r.addrs[service] {
				g.Go(func() error { return r.hasOwner(ctx, a, node) })
			}
		}
		return g.Wait()
	})
}

func (r *layer2Resources) hasOwner(ctx context.Context, a netip.Addr, node string) error {
	macs, err := r.w.Ask(ctx, a, 250*time.Millisecond)
	if err != nil {
		return err
	}
	var names []string
	for _, mac := range macs {
		if n := r.Stack.Owner(mac); n != nil {
			names = append(names, n.Name)
		} else {
			names = append(names, mac.String())
		}
	}
	if node == "" && len(names) > 0 || node != "" && !slices.Equal(names, []string{node}) {
		return fmt.Errorf("%q answer for %s, want %q", names, a, node)
	}
	if node == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err = r.LANClient.Get(ctx, "http://"+netip.AddrPortFrom(a, 80).String()+"/")
	return err
}

// An edit changes something of the cluster.
type edit func(r *layer2Resources)

// advertise makes an L2Advertisement be so.
func advertise(name, spec string) edit {
	return func(r *layer2Resources) {
		r.T.Helper()
		r.Apply(fmt.Sprintf("{apiVersion: metallb.io/v1beta1, kind: L2Advertisement, metadata: {name: %s}, spec: %s}", name, spec))
	}
}

// label gives a Node a label, until the end of the test.
func label(node, key, value string) edit {
	return func(r *layer2Resources) {
		r.T.Helper()
		if err := r.Cluster.LabelNode(r.T.Context(), node, key, value); err != nil {
			r.T.Fatal(err)
		}
		r.T.Cleanup(func() {
			if err := r.Cluster.UnlabelNode(context.Background(), node, key); err != nil {
				r.T.Error(err)
			}
		})
	}
}

func unlabel(node, key string) edit {
	return func(r *layer2Resources) {
		r.T.Helper()
		if err := r.Cluster.UnlabelNode(r.T.Context(), node, key); err != nil {
			r.T.Fatal(err)
		}
	}
}

// relabel gives the Service web another value of its label app.
func relabel(app string) edit {
	return func(r *layer2Resources) {
		r.T.Helper()
		patch := fmt.Sprintf(`{"metadata":{"labels":{"app":%q}}}`, app)
		_, err := r.Cluster.Client().CoreV1().Services(r.Namespace).Patch(r.T.Context(), "web", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		if err != nil {
			r.T.Fatal(err)
		}
	}
}

// Parts of a specification of an advertisement.
const (
	on1  = "nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}]"
	on2  = "nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n2}}]"
	on3  = "nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n3}}]"
	on13 = "nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}, {matchLabels: {kubernetes.io/hostname: n3}}]"
)

// prefers is the preference of nodes that have a label.
func prefers(key string, weight int) string {
	return fmt.Sprintf("{weight: %d, preference: {matchExpressions: [{key: %s, operator: Exists}]}}", weight, key)
}

func preferred(key string) string { return "preferredNodeSelectors: [" + prefers(key, 100) + "]" }

// A layer2Step is some edits, and who answers afterwards.
type layer2Step struct {
	edits  []edit
	owners map[string]string // by Service; empty: nobody
}

// only is who answers for the Service web.
func only(node string) map[string]string { return map[string]string{"web": node} }

// layer2Selections say which nodes may announce, which are preferred, and which
// Services are announced at all.
var layer2Selections = []struct {
	name     string
	services map[string]string // their labels app, by name; none: web alone
	steps    []layer2Step
}{
	{name: "one node after the other", steps: []layer2Step{
		{[]edit{advertise("ad", "{"+on1+"}")}, only("n1")},
		{[]edit{advertise("ad", "{"+on2+"}")}, only("n2")},
		{[]edit{advertise("ad", "{"+on3+"}")}, only("n3")},
	}},
	{name: "two advertisements with a node each", steps: []layer2Step{
		{[]edit{advertise("ad", "{"+on1+"}"), advertise("second", "{"+on3+"}")}, only("n3")},
	}},
	{name: "a node gets the label", steps: []layer2Step{
		{[]edit{advertise("ad", "{}")}, only("n2")},
		{[]edit{advertise("ad", "{nodeSelectors: [{matchLabels: {rack: a}}]}")}, only("")},
		{[]edit{label("n1", "rack", "a")}, only("n1")},
		{[]edit{label("n1", "rack", "b")}, only("")},
	}},
	{name: "a preferred node", steps: []layer2Step{
		{[]edit{advertise("ad", "{"+preferred("fast")+"}")}, only("n2")},
		{[]edit{label("n1", "fast", "")}, only("n1")},
		{[]edit{unlabel("n1", "fast")}, only("n2")},
	}},
	{name: "a preference for no node", steps: []layer2Step{
		{[]edit{advertise("ad", "{nodeSelectors: [{}]}")}, only("n2")},
		{[]edit{advertise("ad", "{nodeSelectors: [{}], "+preferred("nowhere")+"}")}, only("n2")},
	}},
	{name: "a preferred node is excluded", steps: []layer2Step{
		{[]edit{label("n1", "fast", ""), advertise("ad", "{"+preferred("fast")+"}")}, only("n1")},
		{[]edit{label("n1", announce.LabelExcludeNode, "")}, only("n2")},
		{[]edit{unlabel("n1", announce.LabelExcludeNode)}, only("n1")},
	}},
	{name: "another preference, and none", steps: []layer2Step{
		{[]edit{label("n1", "fast", ""), label("n3", "big", ""), advertise("ad", "{"+preferred("fast")+"}")}, only("n1")},
		{[]edit{advertise("ad", "{"+preferred("big")+"}")}, only("n3")},
		{[]edit{advertise("ad", "{}")}, only("n2")},
	}},
	{name: "one of two selected nodes is preferred", steps: []layer2Step{
		{[]edit{label("n1", "fast", ""), advertise("ad", "{"+on13+", "+preferred("fast")+"}")}, only("n1")},
	}},
	{name: "the preferred node is not selected", steps: []layer2Step{
		{[]edit{label("n1", "fast", ""), advertise("ad", "{"+on3+"}")}, only("n3")},
		{[]edit{advertise("ad", "{"+on3+", "+preferred("fast")+"}")}, only("n3")},
	}},
	{name: "weights of two advertisements", steps: []layer2Step{
		{[]edit{
			label("n1", "fast", ""), label("n1", "big", ""), label("n3", "steady", ""),
			advertise("ad", "{preferredNodeSelectors: ["+prefers("fast", 60)+", "+prefers("steady", 60)+"]}"),
			advertise("second", "{preferredNodeSelectors: ["+prefers("big", 50)+"]}"),
		}, only("n1")},
		{[]edit{unlabel("n1", "fast")}, only("n3")},
		{[]edit{unlabel("n3", "steady")}, only("n1")},
	}},
	{
		name: "a preference for some Services", services: map[string]string{"web": "web", "db": "db"},
		steps: []layer2Step{
			{[]edit{label("n1", "fast", ""), advertise("ad", "{}")}, map[string]string{"web": "n2", "db": "n2"}},
			{[]edit{advertise("second", "{serviceSelectors: [{matchLabels: {app: web}}], "+preferred("fast")+"}")}, map[string]string{"web": "n1", "db": "n2"}},
		},
	},
	{
		name: "a pool and Services", services: map[string]string{"web": "web", "db": "db"},
		steps: []layer2Step{
			{[]edit{advertise("ad", "{ipAddressPools: [lan], serviceSelectors: [{matchLabels: {app: web}}]}")}, map[string]string{"web": "n2", "db": ""}},
			{[]edit{relabel("api")}, map[string]string{"web": "", "db": ""}},
			{[]edit{relabel("web")}, map[string]string{"web": "n2", "db": ""}},
			{[]edit{advertise("ad", "{ipAddressPools: [elsewhere], serviceSelectors: [{matchLabels: {app: web}}]}")}, map[string]string{"web": "", "db": ""}},
		},
	},
	{name: "two advertisements with a node each for one Service", services: map[string]string{"web": "web"}, steps: []layer2Step{
		{[]edit{
			advertise("ad", "{"+on1+", serviceSelectors: [{matchLabels: {app: web}}]}"),
			advertise("second", "{"+on3+", serviceSelectors: [{matchLabels: {app: web}}]}"),
		}, only("n3")},
	}},
	{name: "neither advertisement has both", services: map[string]string{"web": "web"}, steps: []layer2Step{
		{[]edit{advertise("ad", "{}"), advertise("second", "{"+on1+", serviceSelectors: [{matchLabels: {app: db}}]}")}, only("n2")},
		{[]edit{advertise("ad", "{serviceSelectors: [{matchLabels: {app: web}}], nodeSelectors: [{matchLabels: {rack: none}}]}")}, only("")},
	}},
	{
		name: "either of two selectors", services: map[string]string{"web": "web", "db": "db", "api": "api"},
		steps: []layer2Step{
			{
				[]edit{advertise("ad", "{serviceSelectors: [{matchLabels: {app: web}}, {matchExpressions: [{key: app, operator: In, values: [db, cache]}]}]}")},
				map[string]string{"web": "n2", "db": "n2", "api": ""},
			},
		},
	},
}

// Who answers on the network follows the advertisements, the labels of Nodes and
// those of Services, at once and for both families.
//
// Acceptance: L044-L058.
func TestLayer2ResourcesSelection(t *testing.T) {
	all := newLayer2Resources(t)
	for _, test := range layer2Selections {
		t.Run(test.name, func(t *testing.T) {
			r := all.part(t)
			services := test.services
			if len(services) == 0 {
				services = map[string]string{"web": "web"}
			}
			for _, name := range slices.Sorted(maps.Keys(services)) {
				r.Expose(r.pinned(name, map[string]string{"app": services[name]}))
			}
			var before map[string]string
			for _, step := range test.steps {
				for _, change := range step.edits {
					change(r)
				}
				r.haveOwners(step.owners)
				// That it is as before shows nothing, unless all agents have decided.
				if maps.Equal(step.owners, before) || slices.Contains(slices.Collect(maps.Values(step.owners)), "") {
					r.LaterPass()
					r.haveOwners(step.owners)
				}
				before = step.owners
			}
			r.end()
		})
	}
}

// end deletes the Services and the advertisements, and waits until nobody answers
// any more.
func (r *layer2Resources) end() {
	r.T.Helper()
	for name := range r.addrs {
		if err := r.Cluster.DeleteService(r.T.Context(), r.Namespace, name); err != nil {
			r.T.Fatal(err)
		}
	}
	nobody := map[string]string{}
	for name := range r.addrs {
		nobody[name] = ""
	}
	r.haveOwners(nobody)
	ads := r.Dynamic.Resource(e2e.KindOf(config.KindL2Advertisement).GroupVersion().WithResource(e2e.Plurals[config.KindL2Advertisement]))
	if err := ads.Namespace(lab.HeraldNamespace).DeleteCollection(r.T.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		r.T.Fatal(err)
	}
}
