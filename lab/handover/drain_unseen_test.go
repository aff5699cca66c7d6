// SPDX-License-Identifier: Apache-2.0

package handover_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/status"
)

// The session of one node alone is up, and that node is to leave its routes to others:
// it drains, is not selected any more by an advertisement or by the peer, or its Node
// vanishes. It goes on announcing and says why, until the session of another is up,
// and then withdraws by itself. No request is lost meanwhile.
func TestBGPDrainUnseen(t *testing.T) {
	r := e2e.NewResources(t)
	e := draining{r.Test}
	e.AgentPods()
	t.Cleanup(func() {
		for _, n := range e.Nodes {
			heraldctlCleanup(t, e.Test, n)
		}
	})
	n1, n2, n3 := e.Nodes[0], e.Nodes[1], e.Nodes[2]
	for _, n := range e.Nodes {
		if err := e.Cluster.LabelNode(t.Context(), n.Name, "kubernetes.io/hostname", n.Name); err != nil {
			t.Fatal(err)
		}
	}
	const on2 = "nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n2}}]"
	peer := func(more string) {
		r.Apply("{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: r1}, spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.10.0.254, " + more + "}}")
	}
	advertise := func(more string) {
		r.Apply("{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: a}, spec: {" + more + "}}")
	}
	r.DeleteConfigMap()
	r.Apply("{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: p}, spec: {addresses: [203.0.113.240/28]}}")
	refuse := e.Refusals()
	refuse(n2, n3)
	peer("")
	advertise("")
	web := e.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	p := e2e.Route(web)
	e.InKernel(p, e.Nodes[:1])
	last := fmt.Sprintf("kept %s/web %s bgp the node drains, but no other node's session that carries it is up: n2, n3", e.Namespace, web)
	stop := e.Load(web)
	// only1 has the session of n1 alone be up, and then the change be made, which is to
	// change nothing before that of n2 is up too.
	only1 := func(t *testing.T, change func(), says string) {
		t.Helper()
		refuse(n2, n3)
		e.InKernel(p, e.Nodes[:1])
		change()
		if says != "" {
			e.Eventually("n1 says "+says, func(ctx context.Context) error {
				if page, err := e.Agent(n1).Get(ctx, "/status"); err != nil || !strings.Contains(page, says) {
					return fmt.Errorf("%w: %s", err, page)
				}
				return nil
			})
		}
		e.LaterPass()
		e.InKernel(p, e.Nodes[:1])
		refuse(n3)
	}

	t.Run("drain", func(t *testing.T) {
		only1(t, func() {
			e.ctl(1, []string{"drain", n1.Name, "--wait", "--hold=1s"}, last, "node n1 still announces what no other node does: 1 of its addresses")
		}, "")
		e.InKernel(p, e.Nodes[1:2])
		e.silent(n1)
		e.ctl(0, []string{"drain", n1.Name, "--wait"}, "node n1 announces nothing any more")
	})
	t.Run("undrain", func(t *testing.T) { // of n1, which is not back before n2 drains
		refuse(n1, n3)
		e.ctl(0, []string{"undrain", n1.Name})
		e.ctl(1, []string{"drain", n2.Name, "--wait", "--hold=1s"}, strings.Replace(last, "n2, n3", "n1, n3", 1))
		refuse(n3)
		e.InKernel(p, e.Nodes[:1])
		e.silent(n2)
		e.ctl(0, []string{"undrain", n2.Name})
		e.InKernel(p, e.Nodes[:2])
	})
	t.Run("advertisement", func(t *testing.T) {
		only1(t, func() { advertise(on2) }, "NodeNotSelected, but no other node's session that carries it is up: n2")
		e.InKernel(p, e.Nodes[1:2])
		e.silent(n1)
		advertise("")
		e.InKernel(p, e.Nodes[:2])
	})
	t.Run("peer", func(t *testing.T) {
		only1(t, func() { peer(on2) }, "no other node's session that carries it is up: n2")
		e.InKernel(p, e.Nodes[1:2])
		e.silent(n1)
		peer("")
		e.InKernel(p, e.Nodes[:2])
	})
	t.Run("Node", func(t *testing.T) {
		nodes := e.Cluster.Client().CoreV1().Nodes()
		was, err := nodes.Get(t.Context(), n1.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		again := func() {
			was.ResourceVersion, was.UID = "", ""
			if _, err := nodes.Create(context.Background(), was, metav1.CreateOptions{}); err != nil {
				t.Error(err)
			}
		}
		only1(t, func() {
			if err := nodes.Delete(t.Context(), n1.Name, metav1.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		}, string(status.NodeUnknown)+", but")
		e.InKernel(p, e.Nodes[1:2])
		again()
		e.InKernel(p, e.Nodes[:2])
	})
	stop()
}

// silent waits until a node announces nothing.
func (e draining) silent(n *lab.Node) {
	e.T.Helper()
	e.Eventually(n.Name+" announces nothing", func(ctx context.Context) error {
		for _, d := range e.report(ctx, n).Decisions {
			if d.Announce {
				return fmt.Errorf("decision %+v", d)
			}
		}
		return nil
	})
}
