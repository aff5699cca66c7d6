// SPDX-License-Identifier: Apache-2.0

package fault_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// Etcd is restored to an older state, and nobody restarts Herald. What is the same in both
// states loses nothing. A Service that is back has its address, which another one had
// meanwhile, and what was created since is withdrawn.
func TestFaultEtcdRestored(t *testing.T) {
	lab.NotAttached(t)
	e := e2e.New(t)
	w := e.Neighbors()
	pools := `- {name: p, protocol: bgp, addresses: [10.248.0.0/29]}
- {name: one, protocol: bgp, auto-assign: false, addresses: [10.248.0.8/32]}
- {name: lan, protocol: layer2, auto-assign: false, addresses: [10.10.0.152/30]}
`
	e.Configure(e2e.BGPPools(pools))
	from := func(pool string) map[string]string { return map[string]string{"metallb.io/address-pool": pool} }
	keep := e.Expose(controlplane.ServiceOptions{Name: "keep"})[0]
	old := e.Expose(controlplane.ServiceOptions{Name: "old", Annotations: from("one")})[0]
	local := e.Expose(controlplane.ServiceOptions{Name: "local", Annotations: from("lan")})[0]
	e.Announced(e2e.Route(keep))
	e.Announced(e2e.Route(old))
	owner := e.Owner(w, local)
	if err := e.Cluster.Backup(); err != nil {
		t.Fatal(err)
	}

	if err := e.Cluster.DeleteService(t.Context(), e.Namespace, "old"); err != nil {
		t.Fatal(err)
	}
	e.Withdrawn(e2e.Route(old))
	if heir := e.Expose(controlplane.ServiceOptions{Name: "heir", Annotations: from("one")}); heir[0] != old {
		t.Fatalf("heir has %v, want %s", heir, old)
	}
	e.Configure(e2e.BGPPools(pools + "- {name: later, protocol: bgp, auto-assign: false, addresses: [10.248.0.16/29]}"))
	late := e.Expose(controlplane.ServiceOptions{Name: "late", Annotations: from("later")})[0]
	e.Announced(e2e.Route(old))
	e.Announced(e2e.Route(late))
	age(e, 400)

	since := time.Now()
	stops := []func(){e.Load(keep), e.LoadFrom(e.LANClient, local)}
	if err := e.Cluster.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	e.InKernel(e2e.Route(late), nil)
	t.Logf("what is gone is withdrawn %v after the API server is back", time.Since(start).Round(100*time.Millisecond))
	// Kubernetes' own programs are not what is tested.
	for _, stop := range stops {
		stop()
	}
	if err := e.Cluster.RestartPrograms(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := e.Expose(controlplane.ServiceOptions{Name: "after"})[0]
	e.Announced(e2e.Route(after))
	t.Logf("a new Service is announced after %v", time.Since(start).Round(100*time.Millisecond))
	e.Announced(e2e.Route(old))
	for _, a := range []netip.Addr{keep, old} {
		unchanged(e, a, since)
	}
	if now := e.Owner(w, local); now != owner {
		t.Errorf("%s is the owner of %s, and %s was", now.Name, local, owner.Name)
	}
	list, err := e.Cluster.Client().CoreV1().Services(e.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, svc := range list.Items {
		have = append(have, fmt.Sprint(svc.Name, " ", svc.Status.LoadBalancer.Ingress[0].IP))
	}
	want := []string{"after " + after.String(), "keep " + keep.String(), "local " + local.String(), "old " + old.String()}
	slices.Sort(have)
	if !slices.Equal(have, want) {
		t.Errorf("Services are %q, want %q", have, want)
	}
}

// age makes changes that mean nothing, so that the API server's versions grow.
func age(e *e2e.Test, changes int) {
	e.T.Helper()
	maps := e.Cluster.Client().CoreV1().ConfigMaps(e.Namespace)
	if _, err := maps.Create(e.T.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "age"}}, metav1.CreateOptions{}); err != nil {
		e.T.Fatal(err)
	}
	for i := range changes {
		patch := fmt.Sprintf(`{"data":{"n":"%d"}}`, i)
		if _, err := maps.Patch(context.Background(), "age", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			e.T.Fatal(err)
		}
	}
}
