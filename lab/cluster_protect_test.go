// SPDX-License-Identifier: Apache-2.0

package lab_test

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
)

// With --protect-addresses neither an edit nor the deletion of a pool takes anything
// from a Service until that is released, and no restart of controllers and agents
// changes that; the same for the pools of a ConfigMap.
func TestClusterProtectAddresses(t *testing.T) {
	r := newResourceTest(t)
	r.deleteConfigMap()
	r.SetArgs("--protect-addresses")
	defer func() {
		r.SetArgs()
		r.restartAll()
	}()
	pool := func(addresses string) string {
		return "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p}\nspec: {addresses: [" + addresses + "]}\n"
	}
	r.apply(peerResources + "---\n" + pool("10.244.0.0/24") + `---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: ad}
`)
	r.restartAll()
	addr := r.expose(lab.ServiceOptions{Name: "web"})[0]
	r.announced(route(addr))
	r.keeps(addr, func() {
		r.guarded()
		r.apply(pool("10.243.0.0/24"))
		r.refused(config.KindPool, "p", config.VerdictInUse, addr.String()+" of "+r.namespace+"/web")
		r.guarded() // the edit replaced the whole object
		r.delete(config.KindPool, "p")
		r.refused(config.KindPool, "p", config.VerdictInUse, "its deletion would take")
		r.restartAll()
		r.refused(config.KindPool, "p", config.VerdictInUse, "its deletion would take")
	})
	annotation := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, config.AnnotationRelease, addr)
	o := new(unstructured.Unstructured)
	o.SetGroupVersionKind(kindOf(config.KindPool))
	if _, err := r.of(o).Patch(t.Context(), "p", types.MergePatchType, annotation, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	r.eventually("the pool is gone", func(ctx context.Context) error {
		if _, err := r.poolObject(ctx); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %v", err)
		}
		return nil
	})
	r.withdrawn(route(addr))

	r.clear(t.Context())
	r.configure(bgpPools("- {name: c, protocol: bgp, addresses: [10.242.0.0/24]}"))
	addr = r.moved(addr)
	r.announced(route(addr))
	r.keeps(addr, func() {
		r.configure(bgpPools("- {name: c, protocol: bgp, addresses: [10.241.0.0/24]}"))
		r.configMapEvent("ConfigRejected", "its pools c stay as they were: the edit would take "+addr.String()+" of "+r.namespace+"/web")
		r.restartAll()
		r.configure(bgpPools("- {name: d, protocol: bgp, addresses: [10.240.0.0/24]}"))
		r.restartAll()
	})
	maps := r.Cluster.Client().CoreV1().ConfigMaps(lab.HeraldNamespace)
	annotation = fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"10.242.0.0/24"}}}`, config.AnnotationRelease)
	if _, err := maps.Patch(t.Context(), lab.HeraldConfigMap, types.MergePatchType, annotation, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if next := r.moved(addr); !netip.MustParsePrefix("10.240.0.0/24").Contains(next) {
		t.Errorf("the Service has %s, want an address of the pool d", next)
	}
	r.withdrawn(route(addr))
}

// guarded waits until the pool p has the finalizer.
func (r *resourceTest) guarded() {
	r.t.Helper()
	r.eventually("the pool has the finalizer", func(ctx context.Context) error {
		if o, err := r.poolObject(ctx); err != nil || !slices.Contains(o.GetFinalizers(), "heraldlb.io/protect-addresses") {
			return fmt.Errorf("the pool is %v, %v", o, err)
		}
		return nil
	})
}

// poolObject returns the pool p.
func (r *resourceTest) poolObject(ctx context.Context) (*unstructured.Unstructured, error) {
	o := new(unstructured.Unstructured)
	o.SetGroupVersionKind(kindOf(config.KindPool))
	return r.of(o).Get(ctx, "p", metav1.GetOptions{})
}

// keeps does something while the Service web is under load, which must lose nothing,
// neither its address nor its route.
func (r *resourceTest) keeps(addr netip.Addr, do func()) {
	r.t.Helper()
	since := time.Now()
	stop := r.load(addr)
	do()
	stop()
	if now, err := r.Cluster.WaitAddress(r.t.Context(), r.namespace, "web"); err != nil || now[0] != addr {
		r.t.Errorf("the Service has %v, %v; want %s", now, err, addr)
	}
	for _, c := range r.routes.History(route(addr)) {
		if c.Time.After(since) && !c.Present {
			r.t.Errorf("r1's route to %s changed: %v", addr, c)
		}
	}
}

// moved waits until the Service web has another address.
func (r *resourceTest) moved(from netip.Addr) (to netip.Addr) {
	r.t.Helper()
	r.eventually("the Service has another address", func(ctx context.Context) error {
		svc, err := r.Cluster.Client().CoreV1().Services(r.namespace).Get(ctx, "web", metav1.GetOptions{})
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
