// SPDX-License-Identifier: Apache-2.0

package fault_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// A Node is deleted and registered again, with its labels and without. Others take its
// addresses over meanwhile, and no request is lost.
func TestFaultNodeRegisteredAgain(t *testing.T) {
	e := e2e.New(t)
	w := e.Neighbors()
	const label = "lab.heraldlb.io/rack"
	for _, n := range e.Nodes {
		if err := e.Cluster.LabelNode(t.Context(), n.Name, label, "a"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := e.Cluster.UnlabelNode(context.Background(), n.Name, label); err != nil {
				t.Error(err)
			}
		})
	}
	e.Configure(`
peers:
- {my-asn: 64512, peer-asn: 64513, peer-address: 10.10.0.254, node-selectors: [{match-labels: {` + label + `: a}}]}
- {my-asn: 64512, peer-asn: 64512, peer-address: 10.10.0.200}
address-pools:
- {name: p, protocol: bgp, addresses: [10.248.1.0/29]}
- {name: lan, protocol: layer2, auto-assign: false, addresses: [10.10.0.152/30]}
`)
	web := e.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	local := e.Expose(controlplane.ServiceOptions{Name: "local", Annotations: map[string]string{"metallb.io/address-pool": "lan"}})[0]
	e.InKernel(e2e.Route(web), e.Nodes)
	owner := e.Owner(w, local)
	var others []*lab.Node
	for _, n := range e.Nodes {
		if n != owner {
			others = append(others, n)
		}
	}
	stops := []func(){e.Load(web), e.LoadFrom(e.LANClient, local)}
	nodes := e.Cluster.Client().CoreV1().Nodes()
	for _, labelled := range []bool{true, false} {
		was, err := nodes.Get(t.Context(), owner.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		was.ResourceVersion, was.UID = "", ""
		if !labelled {
			delete(was.Labels, label)
		}
		if err := nodes.Delete(t.Context(), owner.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		owns(e, w, local, func(n *lab.Node) bool { return n != owner })
		e.InKernel(e2e.Route(web), others)
		t.Logf("others have all of %s after %v", owner.Name, time.Since(start).Round(time.Millisecond))
		if _, err := nodes.Create(t.Context(), was, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		start = time.Now()
		owns(e, w, local, func(n *lab.Node) bool { return n == owner })
		if !labelled {
			e.LaterPass()
			e.InKernel(e2e.Route(web), others)
			if err := e.Cluster.LabelNode(t.Context(), owner.Name, label, "a"); err != nil {
				t.Fatal(err)
			}
		}
		e.InKernel(e2e.Route(web), e.Nodes)
		t.Logf("%s has its own again after %v", owner.Name, time.Since(start).Round(time.Millisecond))
	}
	for _, stop := range stops {
		stop()
	}
}

// The watches of all pods stall: their connections stay open, and nothing arrives any more.
// Controllers and agents notice within 20 s, and read what they missed.
func TestFaultWatchStalled(t *testing.T) {
	e := e2e.New(t)
	e.Configure(e2e.BGPPools("- {name: p, protocol: bgp, addresses: [10.248.1.8/29]}"))
	first := e.Expose(controlplane.ServiceOptions{Name: "first"})[0]
	e.Announced(e2e.Route(first))
	since := time.Now()
	resume := e.Cluster.StallAPIServer()
	t.Cleanup(func() {
		if err := resume(); err != nil {
			t.Error(err)
		}
	})
	second := e.Expose(controlplane.ServiceOptions{Name: "second"})[0]
	e.Announced(e2e.Route(second))
	took := time.Since(since)
	t.Logf("a new Service is announced %v after all watches stalled", took.Round(100*time.Millisecond))
	if took < time.Second {
		t.Error("no watch stalled")
	}
	unchanged(e, first, since)
}

// owns waits until one node answers for an address that is one of those wanted.
func owns(e *e2e.Test, w *lab.NeighborWatch, a netip.Addr, wanted func(*lab.Node) bool) {
	e.T.Helper()
	e.Eventually("another owner of "+a.String(), func(ctx context.Context) error {
		macs, err := w.Ask(ctx, a, 100*time.Millisecond)
		if err != nil {
			return err
		}
		if len(macs) == 1 {
			if n := e.Stack.Owner(macs[0]); n != nil && wanted(n) {
				return nil
			}
		}
		return fmt.Errorf("%v answer", macs)
	})
}
