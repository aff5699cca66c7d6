// SPDX-License-Identifier: Apache-2.0

package resources_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// newPeer is a peer that nobody answers for, as a resource.
func newPeer(name, address, more string) string {
	return fmt.Sprintf("{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: %s}, spec: {myASN: 64512, peerASN: 64599, peerAddress: %s%s}}", name, address, more)
}

// Each component says what it makes of the configuration, and goes on saying it.
//
// Acceptance: C001-C003, C007, C010.
func TestResourcesStates(t *testing.T) {
	r := e2e.NewResources(t)
	r.DeleteConfigMap()
	ctx := t.Context()
	for _, n := range r.Nodes {
		if err := r.Cluster.LabelNode(ctx, n.Name, "kubernetes.io/hostname", n.Name); err != nil {
			t.Fatal(err)
		}
	}
	components := []string{"controller", "speaker-n1", "speaker-n2", "speaker-n3"}
	say := func(invalid []string, summary string) {
		t.Helper()
		for _, name := range components {
			if slices.Contains(invalid, name) {
				r.Result(name, "Invalid", summary)
			} else {
				r.Result(name, "Valid", "")
			}
		}
	}
	speakers := components[1:]
	secret := func(kind string) string {
		return "{apiVersion: v1, kind: Secret, metadata: {name: tor}, type: " + kind + ", stringData: {password: secret, username: herald}}"
	}
	t.Cleanup(func() {
		err := r.Cluster.Client().CoreV1().Secrets(lab.HeraldNamespace).Delete(context.Background(), "tor", metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	// Only resources with a pool take the place of a ConfigMap that is deleted.
	r.Apply("{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: one}, spec: {addresses: [198.51.100.250/32]}}")
	r.Apply(e2e.PeerResources + "---\n{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: ad}}")
	say(nil, "")

	// A peer of one node with a Secret of the wrong type.
	r.Apply(secret("Opaque"))
	r.Apply(newPeer("tor", "10.10.0.77", ", passwordSecret: {name: tor}, nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}]"))
	say([]string{"speaker-n1"}, `secret type mismatch on "metallb-system"/"tor", type "kubernetes.io/basic-auth" is expected`)
	r.Delete("Secret", "tor")
	say([]string{"speaker-n1"}, `secret ref not found for peer config "tor"`)
	r.Apply(secret("kubernetes.io/basic-auth"))
	say(nil, "")
	r.Delete(config.KindPeer, "tor")

	// A BFD profile that is missing, there, and gone while it is in use.
	r.Apply(newPeer("bfd", "10.10.0.77", ", bfdProfile: fast"))
	say(speakers, "peer bfd referencing non existing bfd profile fast")
	r.Apply("{apiVersion: metallb.io/v1beta1, kind: BFDProfile, metadata: {name: fast}, spec: {receiveInterval: 1000}}")
	say(nil, "")
	r.Delete(config.KindBFDProfile, "fast")
	say(speakers, "it goes on with what was there before")
	for _, n := range r.Nodes {
		conf, err := n.FRR.Vtysh(ctx, "show running-config")
		if err != nil || !strings.Contains(conf, "bfd profile fast") {
			t.Errorf("%s has lost the profile: %v", n.Name, err)
		}
	}
	r.Delete(config.KindPeer, "bfd")
	say(nil, "")

	peersMeet(r)
	say([]string{"speaker-n3"}, "BGPPeer/b: peer a has the same address")
	if err := r.Cluster.UnlabelNode(ctx, "n3", "row"); err != nil {
		t.Fatal(err)
	}
	say(nil, "")

	// They come back if somebody deletes them.
	for _, name := range components {
		r.Delete("ConfigurationState", name)
	}
	say(nil, "")
}

// The pools' counters are true, even if somebody else writes them; Services leave a pool
// that is deleted, and no status is written while nothing happens.
//
// Acceptance: L005, L006, L020.
func TestResourcesPools(t *testing.T) {
	r := e2e.NewResources(t)
	r.DeleteConfigMap()
	pool := func(name, addresses string) string {
		return fmt.Sprintf("{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: %s}, spec: {addresses: [%s]}}", name, addresses)
	}
	counters := func(name string, assigned, available int64) {
		t.Helper()
		r.Eventually("counters of "+name, func(ctx context.Context) error {
			s, err := r.State(ctx, config.KindPool, name)
			if err == nil && (s.AssignedIPv4 != assigned || s.AvailableIPv4 != available) {
				err = fmt.Errorf("%d assigned, %d available; want %d and %d", s.AssignedIPv4, s.AvailableIPv4, assigned, available)
			}
			return err
		})
	}
	r.Apply(e2e.PeerResources + "---\n" + pool("p", "10.247.0.0/30") + "\n---\n{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: ad}}")
	addr := r.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	r.Announced(e2e.Route(addr))
	counters("p", 1, 3)
	r.Expose(controlplane.ServiceOptions{Name: "second"})
	counters("p", 2, 2)
	r.Apply(pool("p", "10.247.0.0/29"))
	counters("p", 2, 6)

	pools := r.Dynamic.Resource(e2e.KindOf(config.KindPool).GroupVersion().WithResource("ipaddresspools")).Namespace(lab.HeraldNamespace)
	_, err := pools.Patch(t.Context(), "p", types.MergePatchType, []byte(`{"status":{"assignedIPv4":77,"conditions":[]}}`), metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
	counters("p", 2, 6)
	r.Accepted(config.KindPool, "p")

	// Nothing happens, and nothing is written.
	versions := func() map[string]string {
		t.Helper()
		all := map[string]string{}
		for kind, plural := range e2e.Plurals {
			if kind == "Secret" {
				continue
			}
			list, err := r.Dynamic.Resource(e2e.KindOf(kind).GroupVersion().WithResource(plural)).Namespace(lab.HeraldNamespace).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range list.Items {
				all[kind+"/"+o.GetName()] = o.GetResourceVersion()
			}
		}
		return all
	}
	r.Quiet(2 * time.Second)
	before := versions()
	r.LaterPass()
	r.Quiet(2 * time.Second)
	for name, version := range versions() {
		if before[name] != version {
			t.Fatalf("%s was written while nothing happened", name)
		}
	}

	r.Apply(pool("q", "10.247.1.0/30"))
	r.Accepted(config.KindPool, "q")
	r.Delete(config.KindPool, "p")
	r.Eventually("web is in the other pool", func(context.Context) error { return e2e.InRange(r.Address("web"), "10.247.1.0/30") })
	moved := r.Address("web")
	r.Announced(e2e.Route(moved))
	r.Withdrawn(e2e.Route(addr))
	counters("q", 2, 2)
	r.Delete(config.KindPool, "q")
	r.Eventually("web has no address", func(ctx context.Context) error {
		svc, err := r.Cluster.Client().CoreV1().Services(r.Namespace).Get(ctx, "web", metav1.GetOptions{})
		if err == nil && len(svc.Status.LoadBalancer.Ingress) > 0 {
			err = fmt.Errorf("it has %v", svc.Status.LoadBalancer.Ingress)
		}
		return err
	})
	r.Withdrawn(e2e.Route(moved))
}

// Herald is installed over another load balancer's objects and Services: it
// adopts every address, and leaves alone what is not its own.
func TestResourcesAdopt(t *testing.T) {
	r := e2e.NewResources(t)
	r.DeleteConfigMap()
	for _, c := range r.Controllers {
		c.Stop()
	}
	want := map[string]netip.Addr{}
	foreign := netip.MustParseAddr("10.249.0.200")
	services := r.Cluster.Client().CoreV1().Services(r.Namespace)
	hold := func(name string, addr netip.Addr, class string) {
		t.Helper()
		opts := controlplane.ServiceOptions{Namespace: r.Namespace, Name: name}
		if _, err := r.Stack.Expose(t.Context(), opts); err != nil {
			t.Fatal(err)
		}
		if class != "" {
			// A class cannot be set later: create the Service again.
			if err := r.Cluster.DeleteService(t.Context(), r.Namespace, name); err != nil {
				t.Fatal(err)
			}
			svc := &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Name: name},
				Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, LoadBalancerClass: &class, Selector: map[string]string{"app": name},
					Ports: []corev1.ServicePort{e2e.ServicePort(80)}},
			}
			if _, err := services.Create(t.Context(), svc, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		patch := fmt.Sprintf(`{"metadata":{"annotations":{"metallb.io/ip-allocated-from-pool":"p"}},"status":{"loadBalancer":{"ingress":[{"ip":%q}]}}}`, addr)
		if _, err := services.Patch(t.Context(), name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status"); err != nil {
			t.Fatal(err)
		}
		want[name] = addr
	}
	// In an order that nobody would assign them in.
	for i, host := range []string{"10.249.0.77", "10.249.0.3", "10.249.0.140", "10.249.0.9"} {
		hold(fmt.Sprintf("web-%d", i), netip.MustParseAddr(host), "")
	}
	hold("theirs", foreign, "example.com/other")
	r.ReplaceCRD(e2e.MetalLBCRD)
	r.Apply(e2e.PeerResources + `---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: p}
spec: {addresses: [10.249.0.0/24]}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: ad}
`)
	r.InstallCRDs()
	for _, c := range r.Controllers {
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
	}
	r.Accepted(config.KindPool, "p")
	r.Accepted(config.KindPeer, "r1")
	r.Eventually("the counters of p", func(ctx context.Context) error {
		s, err := r.State(ctx, config.KindPool, "p")
		// That of the other load balancer's Service is in use, too.
		if err == nil && s.AssignedIPv4 != 5 {
			err = fmt.Errorf("%d are assigned, want 5", s.AssignedIPv4)
		}
		return err
	})
	// A new Service shows that all was looked at.
	late := r.Expose(controlplane.ServiceOptions{Name: "late"})[0]
	for name, addr := range want {
		svc, err := services.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if in := svc.Status.LoadBalancer.Ingress; len(in) != 1 || in[0].IP != addr.String() {
			t.Errorf("%s has %v, had %s", name, in, addr)
		}
		if late == addr {
			t.Errorf("%s was given out a second time", addr)
		}
		if name == "theirs" {
			if slices.ContainsFunc(svc.Status.Conditions, func(c metav1.Condition) bool { return strings.HasPrefix(c.Type, "heraldlb.io/") }) {
				t.Errorf("Herald has something to say of another's Service: %v", svc.Status.Conditions)
			}
			r.Withdrawn(e2e.Route(addr))
			continue
		}
		r.Announced(e2e.Route(addr))
		r.Reached(addr)
	}
}

// peersMeet makes peers a and b, which have one address and are for nodes of a label
// each, and gives n3 both labels until the test ends.
func peersMeet(r *e2e.Resources) {
	r.T.Helper()
	r.Apply(newPeer("a", "10.10.0.78", ", nodeSelectors: [{matchLabels: {rack: a}}]") + "\n---\n" +
		newPeer("b", "10.10.0.78", ", nodeSelectors: [{matchLabels: {row: b}}]"))
	for key, value := range map[string]string{"rack": "a", "row": "b"} {
		if err := r.Cluster.LabelNode(r.T.Context(), "n3", key, value); err != nil {
			r.T.Fatal(err)
		}
		r.T.Cleanup(func() {
			if err := r.Cluster.UnlabelNode(context.Background(), "n3", key); err != nil {
				r.T.Error(err)
			}
		})
	}
}
