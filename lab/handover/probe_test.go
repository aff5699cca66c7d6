// SPDX-License-Identifier: Apache-2.0

package handover_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/status"
)

// A node whose backend accepts connections and answers none, though its Pod is ready, leaves
// the address to nodes on which the probe is answered, over BGP and on layer 2. No request is
// lost after that. If the probe fails on all nodes they go on, or none does, as the rules
// say.
func TestProbe(t *testing.T) {
	r := e2e.NewResources(t)
	w := r.Neighbors()
	r.DeleteConfigMap()
	advertise := func(more string) {
		for _, kind := range []string{"BGPAdvertisement", "L2Advertisement"} {
			pool := map[string]string{"BGPAdvertisement": "routed", "L2Advertisement": "lan"}[kind]
			r.Apply("{apiVersion: metallb.io/v1beta1, kind: " + kind + ", metadata: {name: probed}, spec: {ipAddressPools: [" + pool + "], " +
				"probe: {protocol: HTTP, periodSeconds: 1, failureThreshold: 2, " + more + "}}}")
		}
	}
	r.Apply(e2e.PeerResources + `
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: routed}
spec: {addresses: [203.0.113.176/29]}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: lan}
spec: {addresses: [10.10.0.84/30]}
`)
	advertise("whenAllFail: keep")
	pods := newProbedPods(r.Test)
	routed, lan := pods.expose("routed"), pods.expose("lan")
	r.InKernel(e2e.Route(routed), r.Nodes)
	n := r.Settled(w, lan)
	others := slices.DeleteFunc(slices.Clone(r.Nodes), func(o *lab.Node) bool { return o == n })

	start := time.Now()
	pods.freeze(true, n)
	r.InKernel(e2e.Route(routed), others)
	r.Eventually("another owner of "+lan.String(), func(context.Context) error {
		if owner := r.Owner(w, lan); owner == n {
			return fmt.Errorf("%s still answers", n.Name)
		}
		return nil
	})
	t.Logf("%s withdraws %v after its backend has stopped to answer", n.Name, time.Since(start).Round(time.Millisecond))
	decided := func(reason status.Reason) {
		t.Helper()
		r.Eventually("decisions", func(ctx context.Context) error {
			return errors.Join(r.Decided(ctx, n, routed, status.BGP, reason), r.Decided(ctx, n, lan, status.Layer2, reason))
		})
	}
	decided(status.ProbeFailed)
	r.Event("routed", "ProbeFailed", fmt.Sprintf("%s: the probe fails on node %q: http://%s:80/ does not answer within 1s", routed, n.Name, routed))
	for _, stop := range []func(){loadOn(r.Test, r.Client, routed, 100), loadOn(r.Test, r.LANClient, lan, 100)} {
		time.Sleep(time.Second)
		stop()
	}

	pods.freeze(true, others...)
	r.InKernel(e2e.Route(routed), r.Nodes)
	decided(status.Announced)
	if owner := r.Owner(w, lan); owner != n {
		t.Errorf("the probe fails everywhere, and the owner is %s, not %s as before", owner.Name, n.Name)
	}
	// An agent that has just started has no verdict. That is no health: nobody leaves it an
	// address.
	if err := r.Agent(others[0]).Restart(); err != nil {
		t.Fatal(err)
	}
	r.Stays(4*time.Second, func() {
		report, err := r.AgentReport(r.T.Context(), n)
		for _, d := range report.Decisions {
			if err == nil && d.Addr == routed && d.Protocol == status.BGP && d.Reason != status.Announced {
				t.Errorf("%s was restarted, and %s decides %s %s", others[0].Name, n.Name, d.Reason, d.Detail)
			}
		}
	})
	r.InKernel(e2e.Route(routed), r.Nodes)
	advertise("whenAllFail: withdraw")
	r.InKernel(e2e.Route(routed), nil)
	r.Unanswered(w, lan)

	pods.freeze(false, r.Nodes...)
	r.InKernel(e2e.Route(routed), r.Nodes)
	r.Reached(routed)
	r.ReachedFrom(r.LANClient, lan, n)
}

// probedPods are a Pod on each node, which other tests do not use.
type probedPods struct {
	*e2e.Test
	backends map[string]*lab.Backend // by node
}

// newProbedPods starts them. The Pods of the lab are in the network of their node. What
// comes from other nodes and may make no further hop would not reach a Pod in its own
// network, and is dropped.
func newProbedPods(e *e2e.Test) probedPods {
	e.T.Helper()
	p := probedPods{e, map[string]*lab.Backend{}}
	if err := e.Cluster.CreateNamespace(e.T.Context(), e.Namespace); err != nil {
		e.T.Fatal(err)
	}
	var pods []controlplane.BackendPod
	for _, n := range e.Nodes {
		b := n.Pod4.As4()
		b[3] = 77
		addr := netip.AddrFrom4(b)
		for _, command := range [][]string{
			{"ip", "address", "add", addr.String() + "/32", "dev", "lo"},
			{"nft", "add table ip hop; add chain ip hop in { type filter hook input priority 0; }; add rule ip hop in iifname != lo ip daddr 10.244.0.0/16 ip ttl 1 drop"},
		} {
			if _, err := n.Run(e.T.Context(), command[0], command[1:]...); err != nil {
				e.T.Fatal(err)
			}
		}
		e.T.Cleanup(func() {
			_, ip := n.Run(context.Background(), "ip", "address", "delete", addr.String()+"/32", "dev", "lo")
			_, nft := n.Run(context.Background(), "nft", "delete table ip hop")
			if err := errors.Join(ip, nft); err != nil {
				e.T.Error(err)
			}
		})
		backend, err := n.StartBackendAt(e.T.Context(), n.Name, netip.AddrPortFrom(addr, controlplane.BackendPort))
		if err != nil {
			e.T.Fatal(err)
		}
		e.T.Cleanup(backend.Process().Stop)
		p.backends[n.Name] = backend
		pods = append(pods, controlplane.BackendPod{Node: n.Name, IPs: []netip.Addr{addr}, Ready: true})
	}
	if err := e.Cluster.SetBackends(e.T.Context(), e.Namespace, "probed", nil, pods); err != nil {
		e.T.Fatal(err)
	}
	return p
}

// expose makes a Service of the Pods, whose traffic stays local.
func (p probedPods) expose(name string) netip.Addr {
	p.T.Helper()
	opts := controlplane.ServiceOptions{Namespace: p.Namespace, Name: name, Local: true, Backends: "probed"}
	opts.Address = map[string]string{"routed": "203.0.113.177", "lan": "10.10.0.85"}[name]
	if _, err := p.Cluster.CreateService(p.T.Context(), opts); err != nil {
		p.T.Fatal(err)
	}
	addrs, err := p.Cluster.WaitAddress(p.T.Context(), p.Namespace, name)
	if err != nil {
		p.T.Fatal(err)
	}
	return addrs[0]
}

// freeze stops the Pods of nodes, or lets them go on.
func (p probedPods) freeze(is bool, nodes ...*lab.Node) {
	p.T.Helper()
	sig := unix.SIGCONT
	if is {
		sig = unix.SIGSTOP
	}
	for _, n := range nodes {
		if err := p.backends[n.Name].Process().Kill(sig); err != nil {
			p.T.Fatal(err)
		}
	}
}
