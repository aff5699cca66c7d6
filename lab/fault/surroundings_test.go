// SPDX-License-Identifier: Apache-2.0

package fault_test

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
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

// A watch stalls: its connection stays open, and nothing arrives any more. The agent
// notices within 20 s, and reads what it missed.
func TestFaultWatchStalled(t *testing.T) {
	e := e2e.New(t)
	e.Configure(e2e.BGPPools("- {name: p, protocol: bgp, addresses: [10.248.1.8/29]}"))
	first := e.Expose(controlplane.ServiceOptions{Name: "first"})[0]
	e.Announced(e2e.Route(first))
	n := e.Nodes[0]
	since := time.Now()
	stall(e, n)
	second := e.Expose(controlplane.ServiceOptions{Name: "second"})[0]
	e.InKernel(e2e.Route(second), e.Nodes[1:])
	e.Announced(e2e.Route(second))
	t.Logf("%s announces a new Service %v after its watches stalled", n.Name, time.Since(since).Round(100*time.Millisecond))
	unchanged(e, first, since)
}

// stall drops what arrives over the present connections of a node's agent to the API
// server, until the test ends.
func stall(e *e2e.Test, n *lab.Node) {
	e.T.Helper()
	server := e.Cluster.Server()
	out, err := n.Run(e.T.Context(), "ss", "-tnpH", "state", "established", "dst", server.String())
	if err != nil {
		e.T.Fatal(err)
	}
	var ports []string
	for line := range strings.Lines(out) {
		if m := regexp.MustCompile(`:(\d+)\s+` + regexp.QuoteMeta(server.String())).FindStringSubmatch(line); m != nil && strings.Contains(line, `"herald-agent"`) {
			ports = append(ports, m[1])
		}
	}
	if len(ports) == 0 {
		e.T.Fatalf("the agent of %s has no connection: %s", n.Name, out)
	}
	rules := fmt.Sprintf("table inet stall { chain in { type filter hook input priority 0; ip saddr %s tcp sport %d tcp dport { %s } drop; }; }",
		server.Addr(), server.Port(), strings.Join(ports, ", "))
	if _, err := n.Run(e.T.Context(), "nft", rules); err != nil {
		e.T.Fatal(err)
	}
	e.T.Cleanup(func() {
		if _, err := n.Run(context.Background(), "nft", "delete table inet stall"); err != nil {
			e.T.Error(err)
		}
	})
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
