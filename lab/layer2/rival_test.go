// SPDX-License-Identifier: Apache-2.0

package layer2_test

import (
	"context"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/status"
)

// While another load balancer is replaced node by node, one node at a time answers for an
// address, the other load balancer is no conflict, and no request is lost. The kernel of
// n3, which has the address, stands in for it.
func TestLayer2Rival(t *testing.T) {
	e := e2e.New(t)
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
	e.Configure(e2e.Layer2Pool("[10.10.0.120/31]"))
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
	a := e.Expose(controlplane.ServiceOptions{Name: "web", Address: address})[0]
	w := e.Neighbors()
	if got := e.Owner(w, a); got.Name != last.Name {
		t.Fatalf("%s answers, want the stand-in on %s", got.Name, last.Name)
	}
	stop := e.LoadFrom(e.LANClient, a)

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
		e.Eventually("the agent on "+n.Name+" leaves the address to the other load balancer", func(ctx context.Context) error {
			return e.Decided(ctx, n, a, status.Layer2, status.OtherLoadBalancer, status.NotOwner)
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
	if got := e.Owner(w, a); got.Name == last.Name {
		t.Errorf("%s answers still", got.Name)
	}
	t.Logf("one agent answers %v after the other load balancer fell silent", time.Since(silentAt).Round(10*time.Millisecond))
	if err := e.Agent(last).Restart(); err != nil {
		t.Fatal(err)
	}
	e.Owner(w, a)
	stop()

	events, err := e.Cluster.Client().CoreV1().Events(e.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range events.Items {
		if ev.Reason == assign.EventConflict {
			t.Errorf("a conflict was reported: %s", ev.Message)
		}
	}
}
