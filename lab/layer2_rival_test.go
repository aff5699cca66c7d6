// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/status"
)

// While another load balancer is replaced node by node, one node at a time answers for an
// address, the other load balancer is no conflict, and no request is lost. The kernel of
// n3, which has the address, stands in for it.
func TestLayer2Rival(t *testing.T) {
	e := newE2E(t)
	first, second, last := e.Nodes[0], e.Nodes[1], e.Nodes[2]
	for _, n := range e.Nodes {
		e.Agent(n).Stop()
	}
	t.Cleanup(func() { // other tests want them all
		for _, n := range e.Nodes {
			if err := e.Agent(n).Restart(); err != nil {
				t.Error(err)
			}
		}
	})
	e.configure(layer2Pool("[10.10.0.120/31]"))
	const address = "10.10.0.120"
	if _, err := last.Run(t.Context(), "ip", "addr", "add", address+"/32", "dev", "eth0"); err != nil {
		t.Fatal(err)
	}
	silence := func(ctx context.Context) error {
		_, err := last.Run(ctx, "ip", "addr", "del", address+"/32", "dev", "eth0")
		return err
	}
	silent := false
	t.Cleanup(func() {
		if !silent {
			if err := silence(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	a := e.expose(lab.ServiceOptions{Name: "web", Address: address})[0]
	w := e.neighbors()
	if got := e.owner(w, a); got.Name != last.Name {
		t.Fatalf("%s answers, want the stand-in on %s", got.Name, last.Name)
	}
	stop := e.loadFrom(e.LANClient, a)

	theirs, err := last.MAC()
	if err != nil {
		t.Fatal(err)
	}
	alone := func(what string) {
		t.Helper()
		for range 10 {
			macs, err := w.Ask(t.Context(), a, 100*time.Millisecond)
			if err != nil || !slices.Equal(macs, []l2.MAC{theirs}) {
				t.Fatalf("%s: %v answer, %v; want %s alone", what, macs, err, last.Name)
			}
		}
	}
	deferred := func(n *lab.Node) {
		t.Helper()
		e.eventually("the agent on "+n.Name+" leaves the address to the other load balancer", func(ctx context.Context) error {
			return e.decided(ctx, n, a, status.Layer2, status.OtherLoadBalancer, status.NotOwner)
		})
	}
	begin := time.Now()
	for _, n := range []*lab.Node{first, second} {
		if err := e.Agent(n).Restart(); err != nil {
			t.Fatal(err)
		}
		deferred(n)
		alone("with an agent on " + n.Name)
	}
	for _, n := range []*lab.Node{first, second} {
		mac, err := n.MAC()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range w.Claims(a, begin) {
			if c.MAC == mac {
				t.Errorf("%s announced the address at %s", n.Name, c.Time.Format(time.StampMilli))
			}
		}
	}

	if err := silence(t.Context()); err != nil {
		t.Fatal(err)
	}
	silent = true
	silentAt := time.Now()
	if got := e.owner(w, a); got.Name == last.Name {
		t.Errorf("%s answers still", got.Name)
	}
	t.Logf("one agent answers %v after the other load balancer fell silent", time.Since(silentAt).Round(10*time.Millisecond))
	if err := e.Agent(last).Restart(); err != nil {
		t.Fatal(err)
	}
	e.owner(w, a)
	stop()

	events, err := e.Cluster.Client().CoreV1().Events(e.namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range events.Items {
		if ev.Reason == assign.EventConflict {
			t.Errorf("a conflict was reported: %s", ev.Message)
		}
	}
}

// decided reports whether a node's agent decided about an address for one of these
// reasons.
func (e *e2e) decided(ctx context.Context, n *lab.Node, a netip.Addr, p status.Protocol, reasons ...status.Reason) error {
	r, err := e.agentReport(ctx, n)
	if err != nil {
		return err
	}
	for _, d := range r.Decisions {
		if d.Addr != a || d.Protocol != p {
			continue
		}
		if !slices.Contains(reasons, d.Reason) {
			return fmt.Errorf("the decision is %+v, want one of %v", d, reasons)
		}
		return nil
	}
	return fmt.Errorf("no decision about %s", a)
}
