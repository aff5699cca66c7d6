// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
)

// pool applies an IPAddressPool with a spec and annotations, both in flow
// style.
func (a *allocation) pool(name, spec, annotations string) {
	a.t.Helper()
	err := a.cluster.Apply(a.t.Context(), fmt.Sprintf(`
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: %q, namespace: %q, annotations: {%s}}
spec: {%s}
`, name, lab.HeraldNamespace, annotations, spec))
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *allocation) deletePools(names ...string) {
	a.t.Helper()
	for _, name := range names {
		err := a.cluster.Delete(a.t.Context(), fmt.Sprintf("{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: %q, namespace: %q}}", name, lab.HeraldNamespace))
		if err != nil {
			a.t.Fatal(err)
		}
	}
}

func (a *allocation) labelNamespace(labels string) {
	a.t.Helper()
	_, err := a.cluster.Client().CoreV1().Namespaces().Patch(a.t.Context(), allocationNamespace,
		types.MergePatchType, []byte(`{"metadata":{"labels":`+labels+`}}`), metav1.PatchOptions{})
	if err != nil {
		a.t.Fatal(err)
	}
}

// define applies the CRDs.
func (a *allocation) define() {
	a.t.Helper()
	definitions, err := filepath.Glob("../../deploy/crds/*s.yaml")
	if err != nil || len(definitions) == 0 {
		a.t.Fatalf("no definitions: %v", err)
	}
	for _, name := range definitions {
		text, err := os.ReadFile(name)
		if err != nil {
			a.t.Fatal(err)
		}
		if err := a.cluster.Apply(a.t.Context(), string(text)); err != nil {
			a.t.Fatal(err)
		}
	}
}

// TestAllocationResources edits IPAddressPools, and what their selectors are
// about, under Services that exist.
//
// Acceptance: L016, L019.
func TestAllocationResources(t *testing.T) {
	a := newAllocation(t)
	a.define()

	// By the labels of the namespace, by its name, then a pool for everybody.
	a.pool("open", "addresses: [10.0.0.0/32]", "")
	a.pool("named", "addresses: [10.20.0.0/32], serviceAllocation: {priority: 20, namespaces: [shop]}", "")
	a.pool("labelled", "addresses: [10.10.0.0/32], serviceAllocation: {priority: 10, namespaceSelectors: [{matchLabels: {team: blue}}]}", "")
	a.control("--config-source=resources")
	a.create("a", "")
	a.has("a", "10.20.0.0", "from pool named") // nobody is blue
	a.create("b", "")
	a.has("b", "10.0.0.0", "from pool open")
	a.create("c", "")
	a.has("c", "", "pool named: 1 of 1 in use; pool open: 1 of 1 in use")
	a.labelNamespace(`{"team":"blue"}`)
	a.has("c", "10.10.0.0", "from pool labelled")
	a.has("a", "10.20.0.0", "from pool named")
	a.labelNamespace(`{"team":null}`)
	a.has("c", "", "pool named: 1 of 1 in use")
	a.delete("a", "b", "c")
	a.deletePools("named", "labelled")

	// By the labels of Services, which change.
	a.pool("web", "addresses: [10.30.0.0/32], serviceAllocation: {serviceSelectors: [{matchLabels: {app: web}}]}", "")
	a.createService(controlplane.ServiceOptions{Name: "w", Labels: map[string]string{"app": "web"}})
	a.has("w", "10.30.0.0", "from pool web")
	a.patch("w", `{"metadata":{"labels":{"app":"api"}}}`)
	a.has("w", "10.0.0.0", "from pool open")
	a.delete("w")
	a.deletePools("web")

	// Reservations and a quota, which come and go without another generation.
	a.pool("open", "addresses: [10.0.0.0/29]", `heraldlb.io/reservations: "10.0.0.0=shop/vip, fd00::5=shop/vip", heraldlb.io/quota: shop=2`)
	a.create("d", "")
	a.has("d", "10.0.0.0", "from pool open") // that version is invalid: the pool has no IPv6 addresses
	a.delete("d")
	a.pool("open", `addresses: [10.0.0.0/29, "fd00::/125"]`, `heraldlb.io/reservations: "10.0.0.0=shop/vip, fd00::5=shop/vip", heraldlb.io/quota: shop=2`)
	a.create("e", "")
	a.has("e", "10.0.0.1", "")
	a.create("f", "")
	a.has("f", "10.0.0.2", "")
	a.create("g", "")
	a.has("g", "", "pool open: namespace shop has 2 of at most 2 IPv4 addresses")
	a.createService(controlplane.ServiceOptions{Name: "vip", FamilyPolicy: corev1.IPFamilyPolicyRequireDualStack})
	a.has("vip", "10.0.0.0,fd00::5", "")
	a.pool("open", `addresses: [10.0.0.0/29, "fd00::/125"]`, `heraldlb.io/quota: shop=3`)
	a.has("vip", "10.0.0.0,fd00::5", "") // counts now, and is no less theirs
	a.has("g", "", "namespace shop has 3 of at most 3 IPv4 addresses")
	a.pool("open", `addresses: [10.0.0.0/29, "fd00::/125"]`, "")
	a.has("g", "10.0.0.3", "")
	a.delete("vip", "e", "f", "g")

	// Two families.
	a.pool("open", "addresses: [10.0.0.0/29]", "")
	a.createService(controlplane.ServiceOptions{Name: "p", FamilyPolicy: corev1.IPFamilyPolicyPreferDualStack})
	a.has("p", "10.0.0.0", "pool open has no IPv6 addresses")
	a.pool("both", `addresses: [10.1.0.0/29, "fd00:1::/125"]`, "")
	a.createService(controlplane.ServiceOptions{Name: "q", FamilyPolicy: corev1.IPFamilyPolicyPreferDualStack})
	a.has("q", "10.1.0.0,fd00:1::1", "")
	a.pool("open", `addresses: [10.0.0.0/29, "fd00::/125"]`, "")
	a.has("p", "10.0.0.0,fd00::1", "")
	a.pool("both", `addresses: ["fd00:1::/125"]`, "")
	a.has("q", "10.0.0.1,fd00::2", "")
	a.contest()
}
