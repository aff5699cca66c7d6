// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// part runs a part of the test on the same control plane, and deletes the Services
// and pools that the part has left.
func (a *allocation) part(name string, run func(a *allocation)) {
	a.t.Helper()
	a.t.Run(name, func(t *testing.T) {
		part := *a
		part.t = t
		defer part.clear()
		run(&part)
	})
}

func (a *allocation) clear() {
	a.t.Helper()
	services, err := a.cluster.Services(a.t.Context(), allocationNamespace)
	if err != nil {
		a.t.Fatal(err)
	}
	a.delete(services...)
	if err := a.pools().DeleteCollection(a.t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		a.t.Fatal(err)
	}
}

// pools is the client for IPAddressPools.
func (a *allocation) pools() dynamic.ResourceInterface {
	a.t.Helper()
	client, err := dynamic.NewForConfig(a.cluster.RESTConfig(controlplane.Admin))
	if err != nil {
		a.t.Fatal(err)
	}
	return client.Resource(e2e.KindOf(config.KindPool).GroupVersion().WithResource(e2e.Plurals[config.KindPool])).Namespace(lab.HeraldNamespace)
}

// counted waits until the status of a pool counts so many IPv4 addresses. The
// controller knows the pool then.
func (a *allocation) counted(pool string, assigned, available int64) {
	a.t.Helper()
	e2e.Eventually(a.t, "counters of "+pool, func() error {
		o, err := a.pools().Get(a.t.Context(), pool, metav1.GetOptions{})
		if err != nil {
			return err
		}
		status, _ := o.Object["status"].(map[string]any)
		if status["assignedIPv4"] != assigned || status["availableIPv4"] != available {
			return fmt.Errorf("the status is %v, want %d assigned and %d available", status, assigned, available)
		}
		return nil
	})
}

// TestAllocationEdits edits Services on an API server, and the namespaces and pools
// that decide where their addresses come from.
func TestAllocationEdits(t *testing.T) {
	a := newAllocation(t)
	a.define()
	a.control("--config-source=resources")

	// Acceptance: L001, L002, L020.
	a.part("freed", (*allocation).freed)
	// Acceptance: L004.
	a.part("sharing", (*allocation).sharing)
	// Acceptance: L007-L011.
	a.part("priorities", (*allocation).priorities)
	// Acceptance: L012.
	a.part("namespaces", (*allocation).namespaces)
	// Acceptance: L013-L015, L017, L018.
	a.part("families", (*allocation).families)
	a.part("deprecated annotations", (*allocation).deprecated)
}

// freed has Services wait for the only address of a pool.
func (a *allocation) freed() {
	a.pool("only", "addresses: [10.40.0.0/32]", "")
	a.create("first", "")
	a.has("first", "10.40.0.0", "")
	a.counted("only", 1, 0)
	a.create("second", "")
	a.has("second", "", "pool only: 1 of 1 in use")
	a.patch("first", `{"spec":{"type":"ClusterIP"}}`)
	a.has("second", "10.40.0.0", "")
	a.has("first", "", "")
	a.create("third", "")
	a.has("third", "", "pool only: 1 of 1 in use")
	a.delete("second")
	a.has("third", "10.40.0.0", "")
	a.counted("only", 1, 0)
	a.delete("third")
	a.counted("only", 0, 1)
}

// sharing edits what Services that share an address must have in common. The one
// that is edited loses the address, and has it back when the other follows.
func (a *allocation) sharing() {
	const addr = "10.41.0.1"
	a.pool("shared", "addresses: [10.41.0.0/30]", "")
	for i, name := range []string{"one", "two"} {
		a.createService(controlplane.ServiceOptions{
			Name: name, Backends: "both", Address: addr,
			Annotations: map[string]string{"metallb.io/allow-shared-ip": "key"},
			Ports:       []corev1.ServicePort{e2e.ServicePort(int32(80 + i))},
		})
		a.has(name, addr, "from pool shared")
	}
	selector := func(name string) string {
		var labels []string
		for key, value := range controlplane.BackendSelector(name) {
			labels = append(labels, fmt.Sprintf("%q:%q", key, value))
		}
		return `{"spec":{"selector":{` + strings.Join(labels, ",") + `}}}`
	}
	policy := func(policy corev1.ServiceExternalTrafficPolicy) string {
		return fmt.Sprintf(`{"spec":{"externalTrafficPolicy":%q}}`, policy)
	}
	for _, step := range []struct{ edited, follows, patch string }{
		{"two", "one", policy(corev1.ServiceExternalTrafficPolicyLocal)},
		{"one", "two", selector("another")},
		{"two", "one", selector("both")},
		{"one", "two", policy(corev1.ServiceExternalTrafficPolicyCluster)},
	} {
		// Policy Cluster does not look at selectors, so that they are edited under Local.
		a.patch(step.edited, step.patch)
		a.has(step.edited, "", addr+" is in use by shop/"+step.follows+", whose externalTrafficPolicy or selector differs")
		a.has(step.follows, addr, "")
		a.patch(step.follows, step.patch)
		a.has(step.edited, addr, "")
		a.has(step.follows, addr, "")
	}
	a.counted("shared", 1, 3)
}

// priorities has Services take the addresses of pools, one each, in the order of
// their priorities. The order of names and of addresses is the opposite.
func (a *allocation) priorities() {
	a.labelNamespace(`{"team":"blue"}`)
	defer a.labelNamespace(`{"team":null}`)
	const (
		byName      = ", namespaces: [shop]"
		byNamespace = ", namespaceSelectors: [{matchLabels: {team: blue}}]"
		byService   = ", serviceSelectors: [{matchLabels: {app: web}}]"
	)
	for i, test := range []struct {
		name          string
		first, second string // what beside the priority pins the pools of priority 10 and 20
		open          bool   // whether there is a pool for everybody
	}{
		{"by name, twice", byName, byName, true},
		{"without a selector", "", "", false},
		{"by namespace selector, then by name", byNamespace, byName, true},
		{"by service selector, twice", byService, byService, true},
		{"by service selector, then by name", byService, byName, true},
	} {
		a.t.Log(test.name)
		pools := []struct{ name, more string }{
			{"z-first", ", serviceAllocation: {priority: 10" + test.first + "}"},
			{"m-second", ", serviceAllocation: {priority: 20" + test.second + "}"},
		}
		if test.open {
			pools = append(pools, struct{ name, more string }{"a-open", ""})
		}
		var inUse []string
		addr := func(pool int) string { return fmt.Sprintf("10.42.%d.%d", i, 100-pool) }
		for j, p := range pools {
			a.pool(p.name, fmt.Sprintf("addresses: [%s/32]%s", addr(j), p.more), "")
			inUse = append(inUse, "pool "+p.name+": 1 of 1 in use")
		}
		for j, p := range pools {
			name := fmt.Sprintf("s%d", j)
			a.createService(controlplane.ServiceOptions{Name: name, Labels: map[string]string{"app": "web"}})
			a.has(name, addr(j), "from pool "+p.name)
		}
		a.createService(controlplane.ServiceOptions{Name: "late", Labels: map[string]string{"app": "web"}})
		for _, text := range inUse {
			a.has("late", "", text)
		}
		a.clear()
	}
}

// namespaces has pools for the labels of namespaces, and edits a label. New Services
// go by it; what has an address keeps it while its pool is for the namespace.
func (a *allocation) namespaces() {
	const other = "lab"
	if err := a.cluster.CreateNamespace(a.t.Context(), other); err != nil {
		a.t.Fatal(err)
	}
	a.labelNamespace(`{"team":"blue"}`)
	defer a.labelNamespace(`{"team":null}`)
	pool := func(name, more string, priority int, selectors string) {
		a.t.Helper()
		a.pool(name, fmt.Sprintf("addresses: [10.43.%d.0/31]%s, serviceAllocation: {priority: %d, namespaceSelectors: [%s]}", priority, more, priority, selectors), "")
	}
	const red = "{matchLabels: {team: red}}"
	pool("blue", "", 20, "{matchExpressions: [{key: team, operator: Exists}]}")
	pool("red", "", 10, red+", {matchLabels: {kubernetes.io/metadata.name: lab}}")
	pool("probe", ", autoAssign: false", 30, red)
	a.create("a", "")
	a.has("a", "10.43.20.0", "from pool blue")
	if _, err := a.cluster.CreateService(a.t.Context(), controlplane.ServiceOptions{Namespace: other, Name: "b"}); err != nil {
		a.t.Fatal(err)
	}
	defer func() {
		if err := a.cluster.DeleteService(context.WithoutCancel(a.t.Context()), other, "b"); err != nil {
			a.t.Error(err)
		}
	}()
	svc, err := a.cluster.WaitService(a.t.Context(), other, "b", func(svc *corev1.Service) bool { return shown(svc) != "" })
	if err != nil {
		a.t.Fatal(err)
	}
	if got := shown(svc); got != "10.43.10.0" {
		a.t.Errorf("a Service of the namespace %s has %s, want 10.43.10.0", other, got)
	}
	// That this Service has an address shows that the controller knows the label.
	a.createService(controlplane.ServiceOptions{Name: "probe", Annotations: map[string]string{"metallb.io/address-pool": "probe"}})
	a.has("probe", "", "")
	a.labelNamespace(`{"team":"red"}`)
	a.has("probe", "10.43.30.0", "from pool probe")
	a.create("c", "")
	a.has("c", "10.43.10.1", "from pool red")
	a.has("a", "10.43.20.0", "from pool blue")
}

// families edits ipFamilyPolicy beside pools of one family and of both.
func (a *allocation) families() {
	prefer := func(name string, families ...corev1.IPFamily) {
		a.t.Helper()
		a.createService(controlplane.ServiceOptions{Name: name, Families: families, FamilyPolicy: corev1.IPFamilyPolicyPreferDualStack})
	}
	a.pool("four", "addresses: [10.44.0.0/30]", "")
	a.pool("six", `addresses: ["fd00:44::1-fd00:44::4"]`, "")
	a.counted("four", 0, 4)
	a.counted("six", 0, 0)
	prefer("p")
	a.has("p", "10.44.0.0", "from pool four; pool four has no IPv6 addresses")
	prefer("q", e2e.IPv6, e2e.IPv4)
	a.has("q", "fd00:44::1", "from pool six; pool six has no IPv4 addresses")
	prefer("r", e2e.IPv4, e2e.IPv6)
	a.has("r", "10.44.0.1", "from pool four; pool four has no IPv6 addresses")

	// A pool of both comes: it is for Services that are new.
	a.pool("both", `addresses: [10.45.0.0/30, "fd00:45::1-fd00:45::4"]`, "")
	a.counted("both", 0, 4)
	for i := range 2 {
		name := fmt.Sprint("both-", i)
		prefer(name)
		a.has(name, fmt.Sprintf("10.45.0.%d,fd00:45::%d", i, i+1), "from pool both")
	}
	a.has("p", "10.44.0.0", "from pool four")
	a.has("q", "fd00:44::1", "from pool six")
	a.delete("both-0", "both-1", "r")
	a.deletePools("both")

	policy := func(name string, policy corev1.IPFamilyPolicy) {
		a.t.Helper()
		a.patch(name, fmt.Sprintf(`{"spec":{"ipFamilyPolicy":%q}}`, policy))
	}
	for name, addr := range map[string]string{"p": "10.44.0.0", "q": "fd00:44::1"} {
		policy(name, corev1.IPFamilyPolicyRequireDualStack)
		a.has(name, "", "addresses")
		policy(name, corev1.IPFamilyPolicyPreferDualStack)
		a.has(name, addr, "from pool")
	}
}

// deprecated has Services ask by annotations of the older prefix: it counts, and an
// event names each.
func (a *allocation) deprecated() {
	a.pool("old", "addresses: [10.46.0.0/30], autoAssign: false", "")
	for name, annotations := range map[string]map[string]string{
		"old-pool":    {"metallb.universe.tf/address-pool": "old"},
		"old-address": {"metallb.universe.tf/loadBalancerIPs": "10.46.0.2", "metallb.universe.tf/allow-shared-ip": "key"},
		"new":         {"metallb.io/loadBalancerIPs": "10.46.0.3"},
	} {
		a.createService(controlplane.ServiceOptions{Name: name, Annotations: annotations})
	}
	a.has("old-pool", "10.46.0.0", "from pool old")
	a.has("old-address", "10.46.0.2", "from pool old")
	a.has("new", "10.46.0.3", "from pool old")
	want := map[string]string{
		"old-pool":    "metallb.universe.tf/address-pool",
		"old-address": "metallb.universe.tf/allow-shared-ip metallb.universe.tf/loadBalancerIPs",
	}
	told := func() map[string]string {
		a.t.Helper()
		list, err := a.cluster.Client().CoreV1().Events(allocationNamespace).List(a.t.Context(), metav1.ListOptions{FieldSelector: "reason=deprecatedAnnotation,type=Warning"})
		if err != nil {
			a.t.Fatal(err)
		}
		names := map[string]string{}
		for _, e := range list.Items {
			name, ok := strings.CutPrefix(e.Message, "Service uses deprecated annotation ")
			if !ok {
				a.t.Errorf("the event says %q", e.Message)
			}
			all := append(strings.Fields(names[e.InvolvedObject.Name]), name)
			slices.Sort(all)
			names[e.InvolvedObject.Name] = strings.Join(all, " ")
		}
		return names
	}
	e2e.Eventually(a.t, "events", func() error {
		if got := told(); !maps.Equal(got, want) {
			return fmt.Errorf("they are %v, want %v", got, want)
		}
		return nil
	})
}
