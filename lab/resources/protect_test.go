// SPDX-License-Identifier: Apache-2.0

package resources_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// With --protect-addresses neither an edit nor the deletion of a pool takes anything
// from a Service until that is released, and no restart of controllers and agents
// changes that; the same for the pools of a ConfigMap.
func TestClusterProtectAddresses(t *testing.T) {
	r := e2e.NewResources(t)
	r.DeleteConfigMap()
	r.SetArgs("--protect-addresses")
	defer func() {
		r.SetArgs()
		restartAll(r)
	}()
	pool := func(addresses string) string {
		return "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p}\nspec: {addresses: [" + addresses + "]}\n"
	}
	r.Apply(e2e.PeerResources + "---\n" + pool("10.244.0.0/24") + `---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: ad}
`)
	restartAll(r)
	addr := r.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	r.Announced(e2e.Route(addr))
	keeps(r, addr, func() {
		guarded(r)
		r.Apply(pool("10.243.0.0/24"))
		r.Refused(config.KindPool, "p", config.VerdictInUse, addr.String()+" of "+r.Namespace+"/web")
		guarded(r) // the edit replaced the whole object
		r.Delete(config.KindPool, "p")
		r.Refused(config.KindPool, "p", config.VerdictInUse, "its deletion would take")
		restartAll(r)
		r.Refused(config.KindPool, "p", config.VerdictInUse, "its deletion would take")
	})
	annotation := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, config.AnnotationRelease, addr)
	o := new(unstructured.Unstructured)
	o.SetGroupVersionKind(e2e.KindOf(config.KindPool))
	if _, err := r.Of(o).Patch(t.Context(), "p", types.MergePatchType, annotation, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	r.Eventually("the pool is gone", func(ctx context.Context) error {
		if _, err := poolObject(r, ctx); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %v", err)
		}
		return nil
	})
	r.Withdrawn(e2e.Route(addr))

	r.Clear(t.Context())
	r.Configure(e2e.BGPPools("- {name: c, protocol: bgp, addresses: [10.242.0.0/24]}"))
	addr = moved(r, addr)
	r.Announced(e2e.Route(addr))
	keeps(r, addr, func() {
		r.Configure(e2e.BGPPools("- {name: c, protocol: bgp, addresses: [10.241.0.0/24]}"))
		configMapEvent(r, "ConfigRejected", "its pools c stay as they were: the edit would take "+addr.String()+" of "+r.Namespace+"/web")
		restartAll(r)
		r.Configure(e2e.BGPPools("- {name: d, protocol: bgp, addresses: [10.240.0.0/24]}"))
		restartAll(r)
	})
	maps := r.Cluster.Client().CoreV1().ConfigMaps(lab.HeraldNamespace)
	annotation = fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"10.242.0.0/24"}}}`, config.AnnotationRelease)
	if _, err := maps.Patch(t.Context(), lab.HeraldConfigMap, types.MergePatchType, annotation, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if next := moved(r, addr); !netip.MustParsePrefix("10.240.0.0/24").Contains(next) {
		t.Errorf("the Service has %s, want an address of the pool d", next)
	}
	r.Withdrawn(e2e.Route(addr))
}

// guarded waits until the pool p has the finalizer.
func guarded(r *e2e.Resources) {
	r.T.Helper()
	r.Eventually("the pool has the finalizer", func(ctx context.Context) error {
		if o, err := poolObject(r, ctx); err != nil || !slices.Contains(o.GetFinalizers(), "heraldlb.io/protect-addresses") {
			return fmt.Errorf("the pool is %v, %v", o, err)
		}
		return nil
	})
}

// poolObject returns the pool p.
func poolObject(r *e2e.Resources, ctx context.Context) (*unstructured.Unstructured, error) {
	o := new(unstructured.Unstructured)
	o.SetGroupVersionKind(e2e.KindOf(config.KindPool))
	return r.Of(o).Get(ctx, "p", metav1.GetOptions{})
}

// keeps does something while the Service web is under load, which must lose nothing,
// neither its address nor its route.
func keeps(r *e2e.Resources, addr netip.Addr, do func()) {
	r.T.Helper()
	since := time.Now()
	stop := r.Load(addr)
	do()
	stop()
	if now, err := r.Cluster.WaitAddress(r.T.Context(), r.Namespace, "web"); err != nil || now[0] != addr {
		r.T.Errorf("the Service has %v, %v; want %s", now, err, addr)
	}
	for _, c := range r.Routes.History(e2e.Route(addr)) {
		if c.Time.After(since) && !c.Present {
			r.T.Errorf("r1's route to %s changed: %v", addr, c)
		}
	}
}

// moved waits until the Service web has another address.
func moved(r *e2e.Resources, from netip.Addr) (to netip.Addr) {
	r.T.Helper()
	r.Eventually("the Service has another address", func(ctx context.Context) error {
		svc, err := r.Cluster.Client().CoreV1().Services(r.Namespace).Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, in := range svc.Status.LoadBalancer.Ingress {
			if to, err = netip.ParseAddr(in.IP); err == nil && to != from {
				return nil
			}
		}
		return fmt.Errorf("the status is %v", svc.Status.LoadBalancer)
	})
	return to
}
