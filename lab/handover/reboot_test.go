// SPDX-License-Identifier: Apache-2.0

package handover_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// orders is how many of the orders TestReadyReboot tries.
var orders = flag.Int("orders", 1, "`number` of orders in which the programs of a node start, in TestReadyReboot: 1 to 6")

// A node that has booted takes no traffic before it can forward it, in whatever order
// agent, FRR and kube-proxy start. The first order is the one that matters most: without
// kube-proxy the node sends what comes to it back to the router.
func TestReadyReboot(t *testing.T) {
	e := e2e.New(t)
	w := e.Neighbors()
	e.Configure(e2e.AllPeers + `
address-pools:
- {name: routed, protocol: bgp, addresses: [203.0.113.224/29]}
- {name: lan, protocol: layer2, addresses: [10.10.0.92/30]}
`)
	routed := e.Expose(controlplane.ServiceOptions{Name: "routed", Address: "203.0.113.225"})[0]
	lan := e.Expose(controlplane.ServiceOptions{Name: "lan", Address: "10.10.0.92"})[0]
	e.InKernel(e2e.Route(routed), e.Nodes)
	n := e.Settled(w, lan) // it owns the address, and takes it back
	others := slices.DeleteFunc(slices.Clone(e.Nodes), func(o *lab.Node) bool { return o == n })
	b := booting{e, n}
	t.Cleanup(b.startAll)
	for _, order := range [][]string{
		{"agent", "frr", "kube-proxy"}, {"frr", "agent", "kube-proxy"}, {"agent", "kube-proxy", "frr"},
		{"frr", "kube-proxy", "agent"}, {"kube-proxy", "agent", "frr"}, {"kube-proxy", "frr", "agent"},
	}[:*orders] {
		t.Log("in the order", strings.Join(order, ", "))
		b.powerOff()
		e.InKernel(e2e.Route(routed), others)
		e.Eventually("another owner", func(context.Context) error {
			if e.Owner(w, lan) == n {
				return fmt.Errorf("%s still answers", n.Name)
			}
			return nil
		})
		e.ReachedFrom(e.LANClient, lan)
		e.Reached(routed)
		stops := []func(){loadOn(e, e.Client, routed, 200), loadOn(e, e.LANClient, lan, 200)}
		for i, what := range order {
			if i > 0 {
				time.Sleep(time.Second)
			}
			b.start(what)
		}
		e.InKernel(e2e.Route(routed), e.Nodes)
		e.Eventually("the owner of before", func(context.Context) error {
			if owner := e.Owner(w, lan); owner != n {
				return fmt.Errorf("%s answers", owner.Name)
			}
			return nil
		})
		time.Sleep(time.Second)
		for _, stop := range stops {
			stop()
		}
	}
}

// A booting node starts its programs one by one.
type booting struct {
	*e2e.Test
	n *lab.Node
}

// powerOff ends everything on the node, and leaves nothing that a reboot would not.
func (b booting) powerOff() {
	b.T.Helper()
	proxy := b.Cluster.KubeProxy(b.n.Name)
	err := errors.Join(b.Agent(b.n).Kill(), b.n.FRR.Kill(), proxy.Kill(9))
	<-proxy.Done()
	for _, family := range []string{"ip", "ip6"} {
		_, deleted := b.n.Run(b.T.Context(), "nft", "delete table "+family+" kube-proxy")
		err = errors.Join(err, deleted)
	}
	conf := os.Remove(filepath.Join(b.n.FRR.EtcDir, "frr.conf"))
	if err != nil || conf != nil && !errors.Is(conf, fs.ErrNotExist) {
		b.T.Fatal(err, conf)
	}
}

// start starts one of the programs.
func (b booting) start(what string) {
	b.T.Helper()
	var err error
	switch what {
	case "agent":
		err = b.Agent(b.n).Start()
	case "frr":
		err = b.n.FRR.Start(b.T.Context())
	default:
		_, err = b.Cluster.StartKubeProxy(b.T.Context(), b.n.Name, b.n.Namespace.Name)
	}
	if err != nil {
		b.T.Fatal(err)
	}
}

// startAll starts what a test that has failed has left off.
func (b booting) startAll() {
	ctx, cancel := context.WithTimeout(context.Background(), e2e.Patience)
	defer cancel()
	err := b.n.FRR.Start(ctx)
	select {
	case <-b.Cluster.KubeProxy(b.n.Name).Done():
		_, started := b.Cluster.StartKubeProxy(ctx, b.n.Name, b.n.Namespace.Name)
		err = errors.Join(err, started)
	default:
	}
	select {
	case <-b.Agent(b.n).Process().Done():
		err = errors.Join(err, b.Agent(b.n).Start())
	default:
	}
	if err != nil {
		b.T.Error(err)
	}
}
