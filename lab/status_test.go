// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/reconcile"
)

// A statusObject is a ServiceL2Status or a ServiceBGPStatus.
type statusObject struct {
	name   string
	labels map[string]string
	owner  metav1.OwnerReference
	status struct {
		Node             string
		ServiceName      string
		ServiceNamespace string
		Peers            []string
		Interfaces       []struct{ Name string }
	}
}

// statuses returns the objects of a kind about a Service of the test, in the order
// of their nodes.
func (r *resourceTest) statuses(ctx context.Context, kind, service string) ([]statusObject, error) {
	o := new(unstructured.Unstructured)
	o.SetGroupVersionKind(kindOf(kind))
	list, err := r.of(o).List(ctx, metav1.ListOptions{
		LabelSelector: "metallb.io/service-name=" + service + ",metallb.io/service-namespace=" + r.namespace,
	})
	if err != nil {
		return nil, err
	}
	var out []statusObject
	for _, item := range list.Items {
		s := statusObject{name: item.GetName(), labels: item.GetLabels()}
		if owners := item.GetOwnerReferences(); len(owners) == 1 {
			s.owner = owners[0]
		}
		b, err := json.Marshal(item.Object["status"])
		if err == nil {
			err = json.Unmarshal(b, &s.status)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b statusObject) int { return strings.Compare(a.status.Node, b.status.Node) })
	return out, nil
}

// hasStatuses waits until the statuses of a Service are these: "node: peers" or
// "node: interfaces".
func (r *resourceTest) hasStatuses(kind, service string, want ...string) []statusObject {
	r.t.Helper()
	var all []statusObject
	r.eventually(kind+" of "+service, func(ctx context.Context) (err error) {
		if all, err = r.statuses(ctx, kind, service); err != nil {
			return err
		}
		var got []string
		for _, s := range all {
			ends := slices.Clone(s.status.Peers)
			for _, i := range s.status.Interfaces {
				ends = append(ends, i.Name)
			}
			got = append(got, s.status.Node+": "+strings.Join(ends, " "))
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("there are %q, want %q", got, want)
		}
		return nil
	})
	for _, s := range all {
		pod, err := r.Cluster.Client().CoreV1().Pods(lab.HeraldNamespace).Get(r.t.Context(), "herald-agent-"+s.status.Node, metav1.GetOptions{})
		if err != nil {
			r.t.Fatal(err)
		}
		if s.labels["metallb.io/node"] != s.status.Node || s.status.ServiceName != service || s.status.ServiceNamespace != r.namespace ||
			s.owner.Kind != "Pod" || s.owner.UID != pod.UID {
			r.t.Errorf("%s is %+v", s.name, s)
		}
	}
	return all
}

// condition waits until a Service has the condition Announced with this reason, and
// a message that has these words.
func (r *resourceTest) condition(service, reason string, words ...string) *corev1.Service {
	r.t.Helper()
	var svc *corev1.Service
	r.eventually("condition of "+service, func(ctx context.Context) (err error) {
		if svc, err = r.Cluster.Client().CoreV1().Services(r.namespace).Get(ctx, service, metav1.GetOptions{}); err != nil {
			return err
		}
		c := announcedOf(svc)
		if c == nil || c.Reason != reason || (c.Status == metav1.ConditionTrue) != (reason == "Announced") {
			return fmt.Errorf("it is %+v, want %s", c, reason)
		}
		for _, w := range words {
			if !strings.Contains(c.Message, w) {
				return fmt.Errorf("it says %q, without %q", c.Message, w)
			}
		}
		return nil
	})
	return svc
}

func announcedOf(svc *corev1.Service) *metav1.Condition {
	for i := range svc.Status.Conditions {
		if svc.Status.Conditions[i].Type == reconcile.ConditionAnnounced {
			return &svc.Status.Conditions[i]
		}
	}
	return nil
}

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
		{"ipv4", []corev1.IPFamily{v4}, "ebgp ibgp r1", "ebgp ibgp"},
		{"ipv6", []corev1.IPFamily{v6}, "ebgp-v6 ibgp-v6 r1-v6", "ebgp-v6 ibgp-v6 r1-v6"},
		{"dual-stack", []corev1.IPFamily{v4, v6}, "ebgp ebgp-v6 ibgp ibgp-v6 r1 r1-v6", "ebgp ebgp-v6 ibgp ibgp-v6 r1-v6"},
	}
	r := newResourceTest(t)
	r.deleteConfigMap()
	r.apply(peerResources + `---
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: p}, spec: {addresses: [198.51.100.96/28, "fd00:96::/120"]}}
---
{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: ad}, spec: {peers: [r1, r1-v6, ibgp, ibgp-v6, ebgp, ebgp-v6, unknown]}}`)
	for _, test := range tests {
		opts := lab.ServiceOptions{Name: test.name, Families: test.families}
		if len(test.families) > 1 {
			opts.FamilyPolicy = corev1.IPFamilyPolicyRequireDualStack
		}
		r.expose(opts)
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
			r.hasStatuses("ServiceBGPStatus", test.name, all(test.peers)...)
		}
	}
	everywhere()
	before := map[string]metav1.Time{}
	for _, test := range tests {
		svc := r.condition(test.name, "Announced", "bgp from n1, n2, n3 to ")
		before[test.name] = announcedOf(svc).LastTransitionTime
	}

	// An object that somebody deletes comes back.
	for _, test := range tests {
		objects, err := r.statuses(t.Context(), "ServiceBGPStatus", test.name)
		if err != nil {
			t.Fatal(err)
		}
		r.delete("ServiceBGPStatus", objects[1].name)
	}
	everywhere()

	// A peer that is removed, and comes back.
	r.delete(config.KindPeer, "r1")
	for _, test := range tests {
		r.hasStatuses("ServiceBGPStatus", test.name, all(test.fewer)...)
		svc := r.condition(test.name, "Announced")
		if after := announcedOf(svc).LastTransitionTime; after != before[test.name] {
			t.Errorf("%s was announced all the time, but the transition is of %s, not %s", test.name, after, before[test.name])
		}
	}
	r.apply(documentOf(peerResources, "r1"))
	everywhere()

	// An advertisement from other nodes.
	r.apply("{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: ad}, spec: {nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n2}}]}}")
	for _, n := range r.Nodes {
		if err := r.Cluster.LabelNode(t.Context(), n.Name, "kubernetes.io/hostname", n.Name); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range tests {
		r.hasStatuses("ServiceBGPStatus", test.name, all(test.peers)[1])
		r.condition(test.name, "Announced", "bgp from n2 to ")
	}
	for _, test := range tests {
		if err := r.Cluster.DeleteService(t.Context(), r.namespace, test.name); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range tests {
		r.hasStatuses("ServiceBGPStatus", test.name)
	}
}

// documentOf returns the document of manifests that has this name.
func documentOf(manifests, name string) string {
	for document := range strings.SplitSeq(manifests, "\n---\n") {
		if strings.Contains(document, "{name: "+name+"}") {
			return document
		}
	}
	return ""
}

// There is one ServiceL2Status, which names the node that answers, and the
// interface where the advertisement does.
//
// Acceptance: L021, L028.
func TestResourcesServiceL2Status(t *testing.T) {
	r := newResourceTest(t)
	r.deleteConfigMap()
	w := r.neighbors()
	r.apply(`{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: lan}, spec: {addresses: [10.10.0.112/28]}}
---
{apiVersion: metallb.io/v1beta1, kind: L2Advertisement, metadata: {name: ad}}`)
	addr := r.expose(lab.ServiceOptions{Name: "web"})[0]
	owner := r.owner(w, addr)
	r.hasStatuses("ServiceL2Status", "web", owner.Name+": ")
	r.condition("web", "Announced", "layer2 from "+owner.Name)

	r.apply("{apiVersion: metallb.io/v1beta1, kind: L2Advertisement, metadata: {name: ad}, spec: {interfaces: [eth0]}}")
	r.hasStatuses("ServiceL2Status", "web", owner.Name+": eth0")
	r.condition("web", "Announced", "layer2 from "+owner.Name+" on eth0")

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
	r.eventually("another owner", func(context.Context) error {
		if heir = r.owner(w, addr); heir == owner {
			return fmt.Errorf("it is still %s", owner.Name)
		}
		return nil
	})
	r.hasStatuses("ServiceL2Status", "web", heir.Name+": eth0")
	r.condition("web", "Announced", "layer2 from "+heir.Name+" on eth0")

	if err := r.Cluster.DeleteService(t.Context(), r.namespace, "web"); err != nil {
		t.Fatal(err)
	}
	r.hasStatuses("ServiceL2Status", "web")
	r.unanswered(w, addr)
}

// writes returns how many requests Herald's processes have sent that were to change
// something, without those that are due by time alone.
func (r *resourceTest) writes(ctx context.Context) (total int, by map[string]int, err error) {
	by, err = r.Stack.Writes(ctx)
	for _, n := range by {
		total += n
	}
	return total, by, err
}

// quiet waits until nothing was written for a while, and returns how much was until
// then.
func (r *resourceTest) quiet(long time.Duration) (total int, by map[string]int) {
	r.t.Helper()
	var since time.Time
	ctx, cancel := context.WithTimeout(r.t.Context(), 4*time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		now, counts, err := r.writes(ctx)
		if err != nil {
			r.t.Fatal(err)
		}
		if since.IsZero() || now != total {
			since, total, by = time.Now(), now, counts
		}
		if time.Since(since) >= long {
			return total, by
		}
		<-tick.C
	}
}

// announcedAll waits until so many Services say that all nodes announce them.
func (r *resourceTest) announcedAll(services int) {
	r.t.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		list, err := r.Cluster.Client().CoreV1().Services(r.namespace).List(r.t.Context(), metav1.ListOptions{})
		if err != nil {
			r.t.Fatal(err)
		}
		announced := 0
		for i := range list.Items {
			if c := announcedOf(&list.Items[i]); c != nil && strings.Contains(c.Message, "bgp from n1, n2, n3 to ebgp, ibgp, r1") {
				announced++
			}
		}
		if announced >= services {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("only %d of %d Services are announced", announced, services)
		}
	}
}

// With many Services on three nodes, a change of one is as many writes as it is
// with one, and without a change there are none.
func TestResourcesServiceStatusWrites(t *testing.T) {
	const services = 300
	r := newResourceTest(t)
	r.deleteConfigMap()
	r.apply(peerResources + `---
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: p}, spec: {addresses: [203.0.112.0/21]}}
---
{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: ad}}`)
	ctx := t.Context()
	change := func() (int, map[string]int) {
		before, counts := r.quiet(5 * time.Second)
		r.expose(lab.ServiceOptions{Name: "one", Backends: "web"})
		after, now := r.quiet(5 * time.Second)
		for k, v := range counts {
			if now[k] -= v; now[k] == 0 {
				delete(now, k)
			}
		}
		if err := r.Cluster.DeleteService(ctx, r.namespace, "one"); err != nil {
			t.Fatal(err)
		}
		return after - before, now
	}
	if err := r.SetBackends(ctx, lab.ServiceOptions{Namespace: r.namespace, Name: "web"}); err != nil {
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
		each(func(name string) error { return r.Cluster.DeleteService(context.Background(), r.namespace, name) })
	})
	each(func(name string) error {
		_, err := r.Cluster.CreateService(ctx, lab.ServiceOptions{Namespace: r.namespace, Name: name, Backends: "web"})
		return err
	})
	created := time.Since(start)
	r.announcedAll(services)
	t.Logf("%d Services, created in %s, say that they are announced after %s", services, created, time.Since(start))
	among, by := change()
	t.Logf("one more is %d writes: %v", among, by)
	if diff := among - alone; diff < -2 || diff > 2 {
		t.Errorf("a Service among %d is %d writes, alone it is %d", services, among, alone)
	}
	before, _ := r.quiet(5 * time.Second)
	r.laterPass()
	if after, by := r.quiet(5 * time.Second); after != before {
		t.Errorf("%d writes without a change: %v", after-before, by)
	}
}
