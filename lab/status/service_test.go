// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// There is one ServiceBGPStatus for each node that announces a Service, with the
// peers that were sent its route, and the Service says so.
//
// Acceptance: B034-B036.
func TestBGPServiceStatus(t *testing.T) {
	tests := []struct {
		name     string // of the Service
		families []corev1.IPFamily
		peers    string // on each node
		fewer    string // without the peer r1
	}{
		{"ipv4", []corev1.IPFamily{e2e.IPv4}, "ebgp ibgp r1", "ebgp ibgp"},
		{"ipv6", []corev1.IPFamily{e2e.IPv6}, "ebgp-v6 ibgp-v6 r1-v6", "ebgp-v6 ibgp-v6 r1-v6"},
		{"dual-stack", []corev1.IPFamily{e2e.IPv4, e2e.IPv6}, "ebgp ebgp-v6 ibgp ibgp-v6 r1 r1-v6", "ebgp ebgp-v6 ibgp ibgp-v6 r1-v6"},
	}
	r := e2e.NewResources(t)
	r.DeleteConfigMap()
	r.Apply(e2e.PeerResources + `---
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: p}, spec: {addresses: [198.51.100.96/28, "fd00:96::/120"]}}
---
{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: ad}, spec: {peers: [r1, r1-v6, ibgp, ibgp-v6, ebgp, ebgp-v6, unknown]}}`)
	for _, test := range tests {
		opts := controlplane.ServiceOptions{Name: test.name, Families: test.families}
		if len(test.families) > 1 {
			opts.FamilyPolicy = corev1.IPFamilyPolicyRequireDualStack
		}
		r.Expose(opts)
	}
	all := func(peers string) (want []string) {
		for _, n := range r.Nodes {
			want = append(want, n.Name+": "+peers)
		}
		return want
	}
	everywhere := func() {
		t.Helper()
		for _, test := range tests {
			r.HasStatuses("ServiceBGPStatus", test.name, all(test.peers)...)
		}
	}
	everywhere()
	before := map[string]metav1.Time{}
	for _, test := range tests {
		svc := r.Condition(test.name, "Announced", "bgp from n1, n2, n3 to ")
		before[test.name] = e2e.AnnouncedOf(svc).LastTransitionTime
	}

	// An object that somebody deletes comes back.
	for _, test := range tests {
		objects, err := r.Statuses(t.Context(), "ServiceBGPStatus", test.name)
		if err != nil {
			t.Fatal(err)
		}
		r.Delete("ServiceBGPStatus", objects[1].Name)
	}
	everywhere()

	// A peer that is removed, and comes back.
	r.Delete(config.KindPeer, "r1")
	for _, test := range tests {
		r.HasStatuses("ServiceBGPStatus", test.name, all(test.fewer)...)
		svc := r.Condition(test.name, "Announced")
		if after := e2e.AnnouncedOf(svc).LastTransitionTime; after != before[test.name] {
			t.Errorf("%s was announced all the time, but the transition is of %s, not %s", test.name, after, before[test.name])
		}
	}
	r.Apply(e2e.DocumentOf(e2e.PeerResources, "r1"))
	everywhere()

	// An advertisement from other nodes.
	r.Apply("{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: ad}, spec: {nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n2}}]}}")
	for _, n := range r.Nodes {
		if err := r.Cluster.LabelNode(t.Context(), n.Name, "kubernetes.io/hostname", n.Name); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range tests {
		r.HasStatuses("ServiceBGPStatus", test.name, all(test.peers)[1])
		r.Condition(test.name, "Announced", "bgp from n2 to ")
	}
	for _, test := range tests {
		if err := r.Cluster.DeleteService(t.Context(), r.Namespace, test.name); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range tests {
		r.HasStatuses("ServiceBGPStatus", test.name)
	}
}

// There is one ServiceL2Status, which names the node that answers, and the
// interface where the advertisement does.
//
// Acceptance: L021, L028.
func TestResourcesServiceL2Status(t *testing.T) {
	r := e2e.NewResources(t)
	r.DeleteConfigMap()
	w := r.Neighbors()
	r.Apply(`{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: lan}, spec: {addresses: [10.10.0.112/28]}}
---
{apiVersion: metallb.io/v1beta1, kind: L2Advertisement, metadata: {name: ad}}`)
	addr := r.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	owner := r.Owner(w, addr)
	r.HasStatuses("ServiceL2Status", "web", owner.Name+": ")
	r.Condition("web", "Announced", "layer2 from "+owner.Name)

	r.Apply("{apiVersion: metallb.io/v1beta1, kind: L2Advertisement, metadata: {name: ad}, spec: {interfaces: [eth0]}}")
	r.HasStatuses("ServiceL2Status", "web", owner.Name+": eth0")
	r.Condition("web", "Announced", "layer2 from "+owner.Name+" on eth0")

	// The owner crashes: another takes over, and its object is the only one.
	if err := r.Agent(owner).Kill(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Agent(owner).Start(); err != nil {
			t.Error(err)
		}
	})
	var heir *lab.Node
	r.Eventually("another owner", func(context.Context) error {
		if heir = r.Owner(w, addr); heir == owner {
			return fmt.Errorf("it is still %s", owner.Name)
		}
		return nil
	})
	r.HasStatuses("ServiceL2Status", "web", heir.Name+": eth0")
	r.Condition("web", "Announced", "layer2 from "+heir.Name+" on eth0")

	if err := r.Cluster.DeleteService(t.Context(), r.Namespace, "web"); err != nil {
		t.Fatal(err)
	}
	r.HasStatuses("ServiceL2Status", "web")
	r.Unanswered(w, addr)
}

// announcedAll waits until so many Services say that all nodes announce them.
func announcedAll(r *e2e.Resources, services int) {
	r.T.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		list, err := r.Cluster.Client().CoreV1().Services(r.Namespace).List(r.T.Context(), metav1.ListOptions{})
		if err != nil {
			r.T.Fatal(err)
		}
		announced := 0
		for i := range list.Items {
			if c := e2e.AnnouncedOf(&list.Items[i]); c != nil && strings.Contains(c.Message, "bgp from n1, n2, n3 to ebgp, ibgp, r1") {
				announced++
			}
		}
		if announced >= services {
			return
		}
		if time.Now().After(deadline) {
			r.T.Fatalf("only %d of %d Services are announced", announced, services)
		}
	}
}

// With many Services on three nodes, a change of one is as many writes as it is
// with one, and without a change there are none.
func TestResourcesServiceStatusWrites(t *testing.T) {
	const services = 300
	r := e2e.NewResources(t)
	r.DeleteConfigMap()
	r.Apply(e2e.PeerResources + `---
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: p}, spec: {addresses: [203.0.112.0/21]}}
---
{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: ad}}`)
	ctx := t.Context()
	change := func() (int, map[string]int) {
		before, counts := r.Quiet(5 * time.Second)
		r.Expose(controlplane.ServiceOptions{Name: "one", Backends: "web"})
		after, now := r.Quiet(5 * time.Second)
		for k, v := range counts {
			if now[k] -= v; now[k] == 0 {
				delete(now, k)
			}
		}
		if err := r.Cluster.DeleteService(ctx, r.Namespace, "one"); err != nil {
			t.Fatal(err)
		}
		return after - before, now
	}
	if err := r.SetBackends(ctx, controlplane.ServiceOptions{Namespace: r.Namespace, Name: "web"}); err != nil {
		t.Fatal(err)
	}
	alone, by := change()
	t.Logf("one Service is %d writes: %v", alone, by)

	start := time.Now()
	each := func(do func(name string) error) {
		var g errgroup.Group
		g.SetLimit(8)
		for i := range services {
			g.Go(func() error { return do(fmt.Sprintf("s%d", i)) })
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() {
		each(func(name string) error { return r.Cluster.DeleteService(context.Background(), r.Namespace, name) })
	})
	each(func(name string) error {
		_, err := r.Cluster.CreateService(ctx, controlplane.ServiceOptions{Namespace: r.Namespace, Name: name, Backends: "web"})
		return err
	})
	created := time.Since(start)
	announcedAll(r, services)
	t.Logf("%d Services, created in %s, say that they are announced after %s", services, created, time.Since(start))
	among, by := change()
	t.Logf("one more is %d writes: %v", among, by)
	if diff := among - alone; diff < -2 || diff > 2 {
		t.Errorf("a Service among %d is %d writes, alone it is %d", services, among, alone)
	}
	before, _ := r.Quiet(5 * time.Second)
	r.LaterPass()
	if after, by := r.Quiet(5 * time.Second); after != before {
		t.Errorf("%d writes without a change: %v", after-before, by)
	}
}
