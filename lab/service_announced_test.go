// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/reconcile"
)

// events returns the events about an object, in the order in which they were last
// written.
func (r *resourceTest) events(ctx context.Context, namespace, name string) ([]corev1.Event, error) {
	list, err := r.Cluster.Client().CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name})
	if err != nil {
		return nil, err
	}
	version := func(e corev1.Event) int {
		n, err := strconv.Atoi(e.ResourceVersion)
		if err != nil {
			panic(err)
		}
		return n
	}
	slices.SortFunc(list.Items, func(a, b corev1.Event) int { return version(a) - version(b) })
	return list.Items, nil
}

// says waits until a Service has the condition Announced with this reason, a message
// that has these words, and a newest event that says the same.
func (r *resourceTest) says(service, reason string, words ...string) {
	r.t.Helper()
	message := announcedOf(r.condition(service, reason, words...)).Message
	r.eventually("newest event of "+service, func(ctx context.Context) error {
		all, err := r.events(ctx, r.namespace, service)
		if err != nil || len(all) == 0 {
			return fmt.Errorf("there are no events: %v", err)
		}
		e := all[len(all)-1]
		if reason == "Announced" && e.Reason == reconcile.EventAnnouncing || e.Reason == reason && strings.Contains(e.Message, message) {
			return nil
		}
		return fmt.Errorf("it is %s: %s; the condition is %s: %s", e.Reason, e.Message, reason, message)
	})
}

// tells waits until there is an event about a resource.
func (r *resourceTest) tells(name, reason, message string) {
	r.t.Helper()
	r.eventually("event "+reason+" of "+name, func(ctx context.Context) error {
		all, err := r.events(ctx, lab.HeraldNamespace, name)
		if err == nil && !slices.ContainsFunc(all, func(e corev1.Event) bool { return e.Reason == reason && e.Message == message }) {
			err = fmt.Errorf("none of %d", len(all))
		}
		return err
	})
}

// resolved waits for what a resource says of what it refers to.
func (r *resourceTest) resolved(kind, name, want string) {
	r.t.Helper()
	r.eventually(kind+" "+name+" refers to what is there", func(ctx context.Context) error {
		s, err := r.state(ctx, kind, name)
		if err == nil && s.Resolved != want {
			err = fmt.Errorf("it says %q, want %q", s.Resolved, want)
		}
		return err
	})
}

// A Service says why it is not announced, and its newest event says the same. No
// node says that it announces what it was not seen to.
func TestResourcesServiceAnnounced(t *testing.T) {
	r := newResourceTest(t)
	r.deleteConfigMap()
	const (
		ad   = "{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: announced}, spec: "
		lost = "{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: lost}, spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.10.0.253}}"
		all  = "True ResolvedRefs all that it refers to exists"
	)
	r.apply(peerResources + "---\n" + lost + `
---
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: announced-p}, spec: {addresses: [198.51.100.112/32]}}`)
	r.expose(lab.ServiceOptions{Name: "web"})
	r.says("web", "NoAdvertisement", "pool announced-p has no advertisement")
	r.tells("announced-p", reconcile.EventUnadvertised, config.NoteUnadvertised)
	if _, err := r.Expose(t.Context(), lab.ServiceOptions{Namespace: r.namespace, Name: "late"}); err != nil {
		t.Fatal(err)
	}
	r.condition("late", "NoAddress")

	r.apply(ad + "{serviceSelectors: [{matchLabels: {tier: web}}]}}")
	r.says("web", "NoAdvertisement", "no advertisement of pool announced-p selects the Service")
	r.resolved(config.KindBGPAdvertisement, "announced", all)

	// What it refers to is not there, or matches nothing.
	r.apply(ad + `{ipAddressPools: [announced-p, annuonced], peers: [tro], nodeSelectors: [{matchLabels: {rack: nowhere}}]}}`)
	r.says("web", "NodeNotSelected", "the nodeSelectors of advertisement announced match 0 of 3 nodes")
	const unresolved = `there is no pool "annuonced"; there is no peer "tro"; nodeSelectors match 0 of 3 nodes`
	r.resolved(config.KindBGPAdvertisement, "announced", "False RefNotFound "+unresolved)
	r.tells("announced", reconcile.EventRefsUnresolved, unresolved)

	// No session, from the start.
	r.apply(ad + "{peers: [lost]}}")
	r.resolved(config.KindBGPAdvertisement, "announced", all)
	r.says("web", string(reconcile.ReasonNotAnnounced))
	events, err := r.events(t.Context(), r.namespace, "web")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Reason == reconcile.EventAnnouncing || e.Reason == "Announced" {
			t.Errorf("before there is a session: %s: %s", e.Reason, e.Message)
		}
	}

	// The next Service has the address, and a session.
	if err := r.Cluster.DeleteService(t.Context(), r.namespace, "web"); err != nil {
		t.Fatal(err)
	}
	r.apply(ad + "{peers: [ebgp]}}")
	r.says("late", "Announced", "bgp from n1, n2, n3 to ebgp")
	r.event("late", reconcile.EventAnnouncing, `announcing from node "n3" with protocol "bgp"`)

	// The session goes down, and comes up again.
	peer := documentOf(peerResources, "ebgp")
	r.apply(strings.Replace(peer, "peerAddress:", "peerPort: 9, peerAddress:", 1))
	r.says("late", string(reconcile.ReasonNotAnnounced))
	r.event("late", string(reconcile.ReasonNotAnnounced), "no longer announced: ")
	r.delete(config.KindPeer, "ebgp")
	r.apply(peer)
	r.says("late", "Announced", "bgp from n1, n2, n3 to ebgp")

	if err := r.Cluster.SetBackends(t.Context(), r.namespace, "late", nil, nil); err != nil {
		t.Fatal(err)
	}
	r.says("late", "NoEndpoints", "the Service has no usable endpoint")
	if err := r.SetBackends(t.Context(), lab.ServiceOptions{Namespace: r.namespace, Name: "late"}); err != nil {
		t.Fatal(err)
	}
	r.says("late", "Announced")
}
