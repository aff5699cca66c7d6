// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/reconcile"
)

// tells waits until there is an event about a resource.
func tells(r *e2e.Resources, name, reason, message string) {
	r.T.Helper()
	r.Eventually("event "+reason+" of "+name, func(ctx context.Context) error {
		all, err := r.Events(ctx, lab.HeraldNamespace, name)
		if err == nil && !slices.ContainsFunc(all, func(e corev1.Event) bool { return e.Reason == reason && e.Message == message }) {
			err = fmt.Errorf("none of %d", len(all))
		}
		return err
	})
}

// A Service says why it is not announced, and its newest event says the same. No
// node says that it announces what it was not seen to.
func TestResourcesServiceAnnounced(t *testing.T) {
	r := e2e.NewResources(t)
	r.DeleteConfigMap()
	const (
		ad   = "{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: announced}, spec: "
		lost = "{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: lost}, spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.10.0.253}}"
		all  = "True ResolvedRefs all that it refers to exists"
	)
	r.Apply(e2e.PeerResources + "---\n" + lost + `
---
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: announced-p}, spec: {addresses: [198.51.100.112/32]}}`)
	r.Expose(controlplane.ServiceOptions{Name: "web"})
	r.Reported("web", "NoAdvertisement", "pool announced-p has no advertisement")
	tells(r, "announced-p", reconcile.EventUnadvertised, config.NoteUnadvertised)
	if _, err := r.Stack.Expose(t.Context(), controlplane.ServiceOptions{Namespace: r.Namespace, Name: "late"}); err != nil {
		t.Fatal(err)
	}
	r.Condition("late", "NoAddress")

	r.Apply(ad + "{serviceSelectors: [{matchLabels: {tier: web}}]}}")
	r.Reported("web", "NoAdvertisement", "no advertisement of pool announced-p selects the Service")
	r.Resolved(config.KindBGPAdvertisement, "announced", all)

	// What it refers to is not there, or matches nothing.
	r.Apply(ad + `{ipAddressPools: [announced-p, annuonced], peers: [tro], nodeSelectors: [{matchLabels: {rack: nowhere}}]}}`)
	r.Reported("web", "NodeNotSelected", "the nodeSelectors of advertisement announced match 0 of 3 nodes")
	const unresolved = `there is no pool "annuonced"; there is no peer "tro"; nodeSelectors match 0 of 3 nodes`
	r.Resolved(config.KindBGPAdvertisement, "announced", "False RefNotFound "+unresolved)
	tells(r, "announced", reconcile.EventRefsUnresolved, unresolved)

	// No session, from the start.
	r.Apply(ad + "{peers: [lost]}}")
	r.Resolved(config.KindBGPAdvertisement, "announced", all)
	r.Reported("web", string(condition.ReasonNotAnnounced))
	events, err := r.Events(t.Context(), r.Namespace, "web")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Reason == reconcile.EventAnnouncing || e.Reason == "Announced" {
			t.Errorf("before there is a session: %s: %s", e.Reason, e.Message)
		}
	}

	// The next Service has the address, and a session.
	if err := r.Cluster.DeleteService(t.Context(), r.Namespace, "web"); err != nil {
		t.Fatal(err)
	}
	r.Apply(ad + "{peers: [ebgp]}}")
	r.Reported("late", "Announced", "bgp from n1, n2, n3 to ebgp")
	r.Event("late", "Announced", "announced: bgp from n1, n2, n3 to ebgp")

	// The session goes down, and comes up again.
	peer := e2e.DocumentOf(e2e.PeerResources, "ebgp")
	r.Apply(strings.Replace(peer, "peerAddress:", "peerPort: 9, peerAddress:", 1))
	r.Reported("late", string(condition.ReasonNotAnnounced))
	r.Event("late", string(condition.ReasonNotAnnounced), "no longer announced: ")
	r.Delete(config.KindPeer, "ebgp")
	r.Apply(peer)
	r.Reported("late", "Announced", "bgp from n1, n2, n3 to ebgp")

	if err := r.Cluster.SetBackends(t.Context(), r.Namespace, "late", nil, nil); err != nil {
		t.Fatal(err)
	}
	r.Reported("late", "NoEndpoints", "the Service has no usable endpoint")
	if err := r.SetBackends(t.Context(), controlplane.ServiceOptions{Namespace: r.Namespace, Name: "late"}); err != nil {
		t.Fatal(err)
	}
	r.Reported("late", "Announced")
}
