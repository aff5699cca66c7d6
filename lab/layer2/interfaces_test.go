// SPDX-License-Identifier: Apache-2.0

package layer2_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
)

// An interfaceTest is a test with another LAN, which is the nodes' eth1.
type interfaceTest struct {
	*layer2Resources
	on map[string]*lab.NeighborWatch // by interface
}

func newInterfaceTest(t *testing.T) *interfaceTest {
	t.Helper()
	r := newLayer2Resources(t)
	remove, err := r.AddLAN("eth1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := remove(); err != nil {
			t.Error(err)
		}
	})
	second, err := r.LANClient.WatchNeighborsOn("eth1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Close)
	return &interfaceTest{r, map[string]*lab.NeighborWatch{"eth0": r.w, "eth1": second}}
}

// answers waits until a node answers for both addresses of the Service web on
// exactly these interfaces, with the hardware address of each, and nobody else does.
func (r *interfaceTest) answers(node string, interfaces ...string) {
	r.T.Helper()
	check := func(ctx context.Context, on string, a netip.Addr) error {
		got, err := r.on[on].Ask(ctx, a, 250*time.Millisecond)
		if err != nil {
			return err
		}
		var want []l2.MAC
		if slices.Contains(interfaces, on) {
			mac, err := r.Node(node).MACOf(on)
			if err != nil {
				return err
			}
			want = append(want, mac)
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("%v answer for %s on %s, want %v", got, a, on, want)
		}
		return nil
	}
	r.Eventually(fmt.Sprintf("%s answers on %v", node, interfaces), func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		for on := range r.on {
			for _, a := range r.addrs["web"] {
				g.Go(func() error { return check(ctx, on, a) })
			}
		}
		return g.Wait()
	})
}

// An address is answered for on the interfaces that the advertisements name, and
// by no node that has none of them.
//
// Acceptance: L021-L026.
func TestLayer2ResourcesInterfaces(t *testing.T) {
	r := newInterfaceTest(t)
	advertise("ad", "{}")(r.layer2Resources)
	r.Expose(r.pinned("web", nil))
	r.answers("n2", "eth0", "eth1")
	r.HasStatuses("ServiceL2Status", "web", "n2: ")

	for _, name := range []string{"eth1", "eth0"} {
		advertise("ad", "{interfaces: ["+name+"]}")(r.layer2Resources)
		r.answers("n2", name)
		r.HasStatuses("ServiceL2Status", "web", "n2: "+name)
	}
	r.Condition("web", "Announced", "layer2 from n2 on eth0")

	// Two advertisements with an interface each.
	advertise("second", "{interfaces: [eth1]}")(r.layer2Resources)
	r.answers("n2", "eth0", "eth1")
	r.HasStatuses("ServiceL2Status", "web", "n2: eth0 eth1")
	r.Delete(config.KindL2Advertisement, "second")
	r.answers("n2", "eth0")

	// No node has the interface.
	advertise("ad", "{interfaces: [eth7]}")(r.layer2Resources)
	r.answers("nobody")
	for _, a := range r.addrs["web"] {
		r.Event("web", reconcile.EventNoInterface, a.String()+": no interface of the advertisements exists on node \"n2\"")
	}
	r.HasStatuses("ServiceL2Status", "web")
	const nowhere = "no node has an interface %s that layer 2 can use"
	r.Reported("web", string(status.NoInterface), fmt.Sprintf(nowhere, "eth7"))
	r.Resolved(config.KindL2Advertisement, "ad", "False RefNotFound "+fmt.Sprintf(nowhere, `"eth7"`))
	r.LaterPass()
	r.answers("nobody")
	for _, n := range r.Nodes {
		page, err := r.Agent(n).Get(t.Context(), "/metrics")
		if err != nil || strings.Contains(page, r.Namespace+`/web"} 1`) {
			t.Errorf("%s is said to announce, or: %v", n.Name, err)
		}
	}

	// With a node each.
	for _, n := range r.Nodes {
		advertise("ad", fmt.Sprintf("{interfaces: [eth1], nodeSelectors: [{matchLabels: {kubernetes.io/hostname: %s}}]}", n.Name))(r.layer2Resources)
		r.answers(n.Name, "eth1")
		r.HasStatuses("ServiceL2Status", "web", n.Name+": eth1")
	}

	// A node that loses the interface is not elected until it has it again.
	advertise("ad", "{interfaces: [eth1]}")(r.layer2Resources)
	r.answers("n2", "eth1")
	for _, step := range []struct{ state, owner string }{{"down", "n3"}, {"up", "n2"}} {
		if _, err := r.Node("n2").Run(t.Context(), "ip", "link", "set", "eth1", step.state); err != nil {
			t.Fatal(err)
		}
		r.answers(step.owner, "eth1")
	}
	r.end()
}
