// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/topology"
)

// viewer is a user who may read objects, and not ask pods.
const viewer = "herald-test-viewer"

// asViewer makes the viewer until the test ends, and returns the flag to be that user.
func asViewer(r *e2e.Resources) string {
	r.T.Helper()
	rbac := r.Cluster.Client().RbacV1()
	read := []string{"get", "list"}
	_, err := rbac.ClusterRoles().Create(r.T.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: viewer},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"services", "nodes", "namespaces", "pods", "configmaps"}, Verbs: read},
			{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: read},
			{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: read},
			{APIGroups: []string{config.ResourceGroup}, Resources: []string{"*"}, Verbs: read},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		r.T.Fatal(err)
	}
	r.T.Cleanup(func() { _ = rbac.ClusterRoles().Delete(context.Background(), viewer, metav1.DeleteOptions{}) })
	_, err = rbac.ClusterRoleBindings().Create(r.T.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: viewer},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: viewer},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: viewer}},
	}, metav1.CreateOptions{})
	if err != nil {
		r.T.Fatal(err)
	}
	r.T.Cleanup(func() { _ = rbac.ClusterRoleBindings().Delete(context.Background(), viewer, metav1.DeleteOptions{}) })
	return "--as=" + viewer
}

// says waits until heraldctl exits with a status and prints these words.
func says(r *e2e.Resources, want int, words []string, args ...string) (out string) {
	r.T.Helper()
	r.Eventually(fmt.Sprintf("heraldctl %s", strings.Join(args, " ")), func(context.Context) error {
		var code int
		code, out = r.Heraldctl(args...)
		if code != want {
			return fmt.Errorf("it exits with %d:\n%s", code, out)
		}
		for _, w := range words {
			if !strings.Contains(strings.Join(strings.Fields(out), " "), w) {
				return fmt.Errorf("it does not say %q:\n%s", w, out)
			}
		}
		return nil
	})
	return out
}

// heraldctl why names the broken link: of a Service over BGP whose router is gone, and of
// one on layer 2. It does so, too, for a user who may not ask the agents.
func TestResourcesWhy(t *testing.T) {
	r := e2e.NewResources(t)
	r.DeleteConfigMap()
	r.AgentPods()
	r.ControllerPod()
	as := asViewer(r)
	peer := e2e.DocumentOf(e2e.PeerResources, "ebgp")
	r.Apply(peer + `
---
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: why-bgp}, spec: {addresses: [198.51.100.120/32], autoAssign: false}}
---
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: why-lan}, spec: {addresses: [10.10.0.120/32], autoAssign: false}}
---
{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: why}, spec: {ipAddressPools: [why-bgp]}}
---
{apiVersion: metallb.io/v1beta1, kind: L2Advertisement, metadata: {name: why}, spec: {ipAddressPools: [why-lan]}}`)
	pool := func(name string) map[string]string { return map[string]string{config.AnnotationAddressPool: name} }
	r.Expose(controlplane.ServiceOptions{Name: "web", Annotations: pool("why-bgp")})
	r.Expose(controlplane.ServiceOptions{Name: "lan", Annotations: pool("why-lan")})
	web, lan := r.Namespace+"/web", r.Namespace+"/lan"

	says(r, 0, []string{"BGP sessions ok 3 of 3 are up", "routes sent ok n1, n2, n3 to ebgp", "198.51.100.120 from pool why-bgp"}, "why", web)
	says(r, 0, []string{web, "routes sent ok"}, "why", "198.51.100.120")
	says(r, 0, []string{"routes sent ok n1, n2, n3 to ebgp", "NOT ASKED", "the user may not get pods/proxy"}, "why", web, as)

	// The condition says "layer2 from n2".
	words := e2e.AnnouncedOf(r.Condition("lan", "Announced", "layer2 from ")).Message
	owner := words[strings.LastIndex(words, " ")+1:]
	says(r, 0, []string{"layer 2 owner ok " + owner, owner + " answers for 10.10.0.120"}, "why", lan)
	says(r, 0, []string{"layer 2 owner ok " + owner, "NOT ASKED"}, "why", lan, as)

	shippedRolesSuffice(r, web, lan, "ebgp")

	_, text := r.Heraldctl("status", "-o", "json")
	var is topology.Topology
	if err := json.Unmarshal([]byte(text), &is); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for _, name := range []string{web, lan} {
		if s, ok := is.Service(name); !ok || s.State != topology.StateAnnounced {
			t.Errorf("%s in JSON: %+v", name, s)
		}
	}
	if is.SchemaVersion != topology.SchemaVersion || len(is.Nodes) != len(r.Nodes) || slices.ContainsFunc(is.Nodes, func(n topology.Node) bool { return !n.Agent.Asked }) {
		t.Errorf("nodes in JSON: version %d, %+v", is.SchemaVersion, is.Nodes)
	}

	// The router refuses connections on that port.
	r.Apply(strings.Replace(peer, "peerAddress:", "peerPort: 9, peerAddress:", 1))
	down := []string{"First broken link: BGP sessions", config.KindPeer + "/ebgp on n1, n2, n3", "cure: check that BGP runs there", "0 of 3 are up"}
	says(r, 1, down, "why", web)
	says(r, 1, down, "why", web, as)
	says(r, 1, []string{"First broken link: sessions", "ConnectionRefused"}, "why", "peer/ebgp")
	says(r, 1, []string{"0 of 3 sessions up", "1 not announced", config.KindPeer + "/ebgp on n1, n2, n3"}, "status")
	says(r, 0, []string{"layer 2 owner ok"}, "why", lan)
}
