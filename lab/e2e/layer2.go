// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/status"
)

// Failover is an address whose owner is one of two nodes, with its backend on the
// third.
func Failover(t *testing.T, pool string) (e *Test, w *lab.NeighborWatch, a netip.Addr) {
	e = New(t)
	w = e.Neighbors()
	e.Configure(Layer2Pool(pool))
	backend := e.Nodes[2]
	if err := e.Cluster.LabelNode(t.Context(), backend.Name, announce.LabelExcludeNode, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Cluster.UnlabelNode(context.Background(), backend.Name, announce.LabelExcludeNode); err != nil {
			t.Error(err)
		}
	})
	a = e.Expose(controlplane.ServiceOptions{Name: "web"}, backend)[0]
	e.Owner(w, a)
	e.ReachedFrom(e.LANClient, a, backend)
	return e, w, a
}

// Settled waits until all agents are alive for each other again, and returns who answers
// then.
func (e *Test) Settled(w *lab.NeighborWatch, a netip.Addr) (owner *lab.Node) {
	e.T.Helper()
	e.Eventually("all agents are alive", func(ctx context.Context) error {
		for _, n := range e.Nodes {
			page, err := e.Agent(n).Get(ctx, "/metrics")
			if err != nil {
				return err
			}
			if want := fmt.Sprintf("\nherald_members %d\n", len(e.Nodes)); !strings.Contains(page, want) {
				return fmt.Errorf("%s does not see all", n.Name)
			}
		}
		return nil
	})
	return e.Owner(w, a)
}

// Decided reports whether a node's agent decided about an address for one of these
// reasons.
func (e *Test) Decided(ctx context.Context, n *lab.Node, a netip.Addr, p status.Protocol, reasons ...status.Reason) error {
	r, err := e.AgentReport(ctx, n)
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

// Neighbors watches from c2 who says that he has which address, until the test
// ends.
func (e *Test) Neighbors() *lab.NeighborWatch {
	e.T.Helper()
	w, err := e.LANClient.WatchNeighbors()
	if err != nil {
		e.T.Fatal(err)
	}
	e.T.Cleanup(w.Close)
	return w
}

// Owner waits until exactly one node answers for an address, two times in a row,
// and returns it.
func (e *Test) Owner(w *lab.NeighborWatch, a netip.Addr) *lab.Node {
	e.T.Helper()
	var owner *lab.Node
	e.Eventually("one owner of "+a.String(), func(ctx context.Context) error {
		last := owner
		macs, err := w.Ask(ctx, a, 100*time.Millisecond)
		if err != nil {
			return err
		}
		owner = nil
		if len(macs) != 1 {
			return fmt.Errorf("%v answer", macs)
		}
		if owner = e.Stack.Owner(macs[0]); owner == nil {
			return fmt.Errorf("%v answers, which is no node", macs[0])
		}
		if owner != last {
			return fmt.Errorf("%s answers, for the first time", owner.Name)
		}
		return nil
	})
	return owner
}

// Unanswered waits until nobody answers for an address.
func (e *Test) Unanswered(w *lab.NeighborWatch, a netip.Addr) {
	e.T.Helper()
	e.Eventually("nobody has "+a.String(), func(ctx context.Context) error {
		macs, err := w.Ask(ctx, a, 300*time.Millisecond)
		if err == nil && len(macs) > 0 {
			err = fmt.Errorf("%v answer", macs)
		}
		return err
	})
}
