// SPDX-License-Identifier: Apache-2.0

package handover_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// switches is how often pools are switched, to and fro.
const switches = 10

// Pools of one address each on the nodes' LAN, of these protocols: there a router asks
// for the address while nobody has told it a route.
func switchPools(protocols, addresses [2]string) string {
	const pool = "- {name: lan%d, protocol: %s, addresses: [%s/32]}\n"
	return e2e.Layer2Pools(fmt.Sprintf(pool+pool, 0, protocols[0], addresses[0], 1, protocols[1], addresses[1]))
}

// switched waits until an address is announced over exactly one protocol.
func switched(e *e2e.Test, w *lab.NeighborWatch, a netip.Addr, protocol string) {
	e.T.Helper()
	e.T.Logf("%s: %s switched to %s", time.Now().Format(time.StampMilli), a, protocol)
	defer func() { e.T.Logf("%s: it is %s alone", time.Now().Format(time.StampMilli), protocol) }()
	if protocol == "bgp" {
		e.Announced(e2e.Route(a))
		e.Unanswered(w, a)
		return
	}
	e.Owner(w, a)
	e.Withdrawn(e2e.Route(a))
}

// forgetful makes r1 doubt what it knows of a neighbor after a tenth of a second,
// and forget one that does not say that it is still there. That loses no packet,
// while a neighbor that is deleted takes along what is just being sent to it.
func forgetful(e *e2e.Test, ctx context.Context) error {
	const script = `
cd /proc/sys/net/ipv4/neigh/eth0
echo 100 >base_reachable_time_ms
echo 100 >retrans_time_ms
echo 0 >delay_first_probe_time
echo 1 >ucast_solicit`
	_, err := e.Router.Run(ctx, "sh", "-euc", script)
	return err
}

// remember undoes forgetful.
func remember(e *e2e.Test) {
	const script = `
cd /proc/sys/net/ipv4/neigh/eth0
echo 30000 >base_reachable_time_ms
echo 1000 >retrans_time_ms
echo 5 >delay_first_probe_time
echo 3 >ucast_solicit`
	if _, err := e.Router.Run(context.Background(), "sh", "-euc", script); err != nil {
		e.T.Error(err)
	}
}

// A pool that is switched between layer2 and bgp loses nothing under load, whatever is
// done to the neighbors' memory or to the agents meanwhile. Two pools are switched at
// once, ten times together: each goes where the other comes from.
func TestSwitchPool(t *testing.T) {
	tests := []struct {
		name      string
		addresses [2]string
		// disturb is done after each change, until the switch is over.
		disturb func(ctx context.Context, e *e2e.Test) error
	}{
		{"undisturbed", [2]string{"10.10.0.160", "10.10.0.174"}, func(context.Context, *e2e.Test) error { return nil }},
		// The router asks for its neighbors again and again: a host that does not
		// answer is given up within half a second.
		{"neighbors forgotten", [2]string{"10.10.0.161", "10.10.0.175"}, func(ctx context.Context, e *e2e.Test) error {
			if err := forgetful(e, ctx); err != nil {
				return err
			}
			for _, m := range []*lab.Machine{e.Router.Machine, e.Client} {
				if err := m.FlushNeighbors(); err != nil {
					return err
				}
			}
			return nil
		}},
		{"agents restarted", [2]string{"10.10.0.162", "10.10.0.176"}, func(ctx context.Context, e *e2e.Test) error {
			for _, a := range e.Agents {
				if err := a.Restart(); err != nil {
					return err
				}
			}
			return nil
		}},
		{"agents killed", [2]string{"10.10.0.163", "10.10.0.177"}, func(ctx context.Context, e *e2e.Test) error {
			for _, a := range e.Agents {
				if err := a.Kill(); err != nil {
					return err
				}
				if err := a.Start(); err != nil {
					return err
				}
			}
			return nil
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := e2e.New(t)
			w := e.Neighbors()
			forth, back := [2]string{"layer2", "bgp"}, [2]string{"bgp", "layer2"}
			e.Configure(switchPools(forth, test.addresses))
			var addrs [2]netip.Addr
			switched := func(protocols [2]string) {
				for i, a := range addrs {
					switched(e, w, a, protocols[i])
				}
			}
			for i, address := range test.addresses {
				addrs[i] = e.Expose(controlplane.ServiceOptions{Name: fmt.Sprint("web-", i), Address: address})[0]
			}
			switched(forth)
			before := e.Connections()
			t.Cleanup(func() { remember(e) })
			var stops []func()
			for _, a := range addrs {
				stops = append(stops, e.LoadFrom(e.Client, a))
			}
			for i := range switches / 2 {
				protocols := [][2]string{back, forth}[i%2]
				ctx, cancel := context.WithCancel(t.Context())
				var g errgroup.Group
				e.Configure(switchPools(protocols, test.addresses))
				g.Go(func() error { return test.disturb(ctx, e) })
				switched(protocols)
				cancel()
				if err := g.Wait(); err != nil {
					t.Fatal(err)
				}
			}
			for _, stop := range stops {
				stop()
			}
			for peer, n := range e.Connections() {
				if n != before[peer] {
					t.Errorf("the session of %s was established %d times, before %d", peer, n, before[peer])
				}
			}
		})
	}
}

// An address that moves to a pool of another protocol is switched too, and one
// that is wanted no more is withdrawn at once.
func TestSwitchMovedAddress(t *testing.T) {
	e := e2e.New(t)
	w := e.Neighbors()
	pools := func(layer2, bgp string) string {
		return e2e.Layer2Pools("- {name: a, protocol: layer2, addresses: [" + layer2 + "]}\n- {name: b, protocol: bgp, addresses: [" + bgp + "]}")
	}
	e.Configure(pools("10.10.0.164/31", "10.10.0.166/31"))
	a := e.Expose(controlplane.ServiceOptions{Name: "web", Address: "10.10.0.165"})[0]
	switched(e, w, a, "layer2")
	stop := e.LoadFrom(e.Client, a)
	e.Configure(pools("10.10.0.164/32", "10.10.0.165-10.10.0.167"))
	switched(e, w, a, "bgp")
	e.Configure(pools("10.10.0.164/31", "10.10.0.166/31"))
	switched(e, w, a, "layer2")
	stop()
	start := time.Now()
	if err := e.Cluster.DeleteService(t.Context(), e.Namespace, "web"); err != nil {
		t.Fatal(err)
	}
	e.Unanswered(w, a)
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("a deleted Service's address is answered for after %v", took)
	}
}
