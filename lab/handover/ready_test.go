// SPDX-License-Identifier: Apache-2.0

package handover_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// moves is how often the endpoint of a Service moves to the next node: a rollout over
// three nodes is three moves.
var moves = flag.Int("moves", 3, "`number` of nodes that the endpoint of a Service moves to, in TestReadyRoll")

// The only endpoint of a Service whose traffic stays local moves from node to node, as in a
// rollout: the new Pod is ready, and the old one serves while it terminates, as one with a
// preStop hook does. No request is lost, over BGP and on layer 2.
func TestReadyRoll(t *testing.T) {
	e := e2e.New(t)
	w := e.Neighbors()
	e.Configure(e2e.AllPeers + `
address-pools:
- {name: routed, protocol: bgp, addresses: [203.0.113.208/29]}
- {name: lan, protocol: layer2, addresses: [10.10.0.88/30]}
`)
	routed := controlplane.ServiceOptions{Name: "routed", Local: true, Backends: "web", Address: "203.0.113.208"}
	lan := controlplane.ServiceOptions{Name: "lan", Local: true, Backends: "web", Address: "10.10.0.88"}
	from := e.Nodes[0]
	addrs := []netip.Addr{e.Expose(routed, from)[0], e.Expose(lan, from)[0]}
	e.InKernel(e2e.Route(addrs[0]), []*lab.Node{from})
	stops := []func(){loadOn(e, e.Client, addrs[0], 200), loadOn(e, e.LANClient, addrs[1], 200)}
	pod := func(n *lab.Node, terminating bool) controlplane.BackendPod {
		return controlplane.BackendPod{Node: n.Name, IPs: []netip.Addr{n.Pod4, n.Pod6}, Ready: true, Terminating: terminating}
	}
	set := func(pods ...controlplane.BackendPod) {
		t.Helper()
		if err := e.Cluster.SetBackends(t.Context(), e.Namespace, "web", nil, pods); err != nil {
			t.Fatal(err)
		}
	}
	for i := range *moves {
		old, next := e.Nodes[i%len(e.Nodes)], e.Nodes[(i+1)%len(e.Nodes)]
		start := time.Now()
		set(pod(old, false), pod(next, false))
		set(pod(old, true), pod(next, false))
		e.InKernel(e2e.Route(addrs[0]), []*lab.Node{next})
		e.Eventually("owner of "+addrs[1].String(), func(context.Context) error {
			if owner := e.Owner(w, addrs[1]); owner != next {
				return fmt.Errorf("%s, but the ready endpoint is on %s", owner.Name, next.Name)
			}
			return nil
		})
		t.Logf("%s: traffic goes to %s after %v", start.Format(time.StampMilli), next.Name, time.Since(start).Round(10*time.Millisecond))
		set(pod(next, false))
	}
	for _, stop := range stops {
		stop()
	}
}

// The first requests to a Service, from the moment that its route is in the router, or that a
// node answers for it on the LAN, are answered.
func TestReadyNew(t *testing.T) {
	e := e2e.New(t)
	w := e.Neighbors()
	e.Configure(e2e.AllPeers + `
address-pools:
- {name: routed, protocol: bgp, addresses: [203.0.113.216/29]}
- {name: lan, protocol: layer2, addresses: [10.10.0.96/30]}
`)
	// kube-proxy writes its rules at most once a second: it is a second behind a Service
	// whose address comes after its rules.
	a := e.Expose(controlplane.ServiceOptions{Name: "new", Local: true, Address: "203.0.113.217"})[0]
	ctx, cancel := context.WithTimeout(t.Context(), e2e.Patience)
	defer cancel()
	start := time.Now()
	if _, err := e.Routes.Wait(ctx, e2e.Route(a), start, lab.Present()); err != nil {
		t.Fatal(err)
	}
	routed := loadOn(e, e.Client, a, 200)
	l := e.Expose(controlplane.ServiceOptions{Name: "new-lan", Local: true, Address: "10.10.0.97"})[0]
	e.Eventually("a node that answers for "+l.String(), func(ctx context.Context) error {
		macs, err := w.Ask(ctx, l, 10*time.Millisecond)
		if err == nil && len(macs) == 0 {
			err = errors.New("none")
		}
		return err
	})
	lan := loadOn(e, e.LANClient, l, 200)
	time.Sleep(5 * time.Second)
	routed()
	lan()
}

// loadOn sends requests to port 80 of an address, and fails the test if one is lost.
func loadOn(e *e2e.Test, m *lab.Machine, a netip.Addr, perSecond int) (stop func()) {
	l := m.StartLoad(lab.LoadOptions{
		URL: "http://" + netip.AddrPortFrom(a, 80).String() + "/", PerSecond: perSecond,
		Lost: func(sent time.Time, err error) { e.T.Logf("%s: lost to %s: %v", sent.Format(time.StampMilli), a, err) },
	})
	return func() {
		e.T.Helper()
		r := l.Stop()
		e.T.Logf("load on %s: %v", a, r)
		if r.Lost > 0 || r.OK == 0 {
			e.T.Errorf("%d of %d requests to %s were lost, sent from %s to %s, the last because of: %v",
				r.Lost, r.Sent, a, r.FirstLoss.Format(time.StampMilli), r.LastLoss.Format(time.StampMilli), r.LastError)
			for _, c := range e.Routes.History(e2e.Route(a)) {
				e.T.Logf("%s: the route of r1 is via %v", c.Time.Format(time.StampMilli), c.NextHops)
			}
		}
	}
}
