// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/lab"
)

// failures is how often each kind of failure is tried.
const failures = 20

// A gap is how long an address was without an owner: on the wire, and as a client
// saw it that sends a request every ten milliseconds.
type gap struct{ wire, client time.Duration }

// failover is an address whose owner is one of two nodes, with its backend on the
// third.
func failover(t *testing.T, pool string) (e *e2e, w *lab.NeighborWatch, a netip.Addr) {
	e = newE2E(t)
	w = e.neighbors()
	e.configure(layer2Pool(pool))
	backend := e.Nodes[2]
	if err := e.Cluster.LabelNode(t.Context(), backend.Name, announce.LabelExcludeNode, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Cluster.UnlabelNode(context.Background(), backend.Name, announce.LabelExcludeNode); err != nil {
			t.Error(err)
		}
	})
	a = e.expose(lab.ServiceOptions{Name: "web"}, backend)[0]
	e.owner(w, a)
	e.reachedFrom(e.LANClient, a, backend)
	return e, w, a
}

// fail makes the owner fail, and measures the gap. The repair comes when another
// node has taken over.
func (e *e2e) fail(w *lab.NeighborWatch, a netip.Addr, owner *lab.Node, fail, repair func(owner *lab.Node) error) gap {
	e.t.Helper()
	mac, err := owner.MAC()
	if err != nil {
		e.t.Fatal(err)
	}
	load := e.LANClient.StartLoad(lab.LoadOptions{
		URL: "http://" + netip.AddrPortFrom(a, 80).String() + "/", PerSecond: 100, Timeout: 400 * time.Millisecond,
	})
	e.eventually("load", func(context.Context) error {
		if r := load.Report(); r.OK < 10 {
			return fmt.Errorf("%d requests were answered", r.OK)
		}
		return nil
	})
	start := time.Now()
	if err := fail(owner); err != nil {
		e.t.Fatal(err)
	}
	claim, err := w.WaitClaim(e.t.Context(), a, start, func(by l2.MAC) bool { return by != mac })
	if err != nil {
		e.t.Fatal(err)
	}
	answered := load.Report().OK
	e.eventually("load after the failure", func(context.Context) error {
		if r := load.Report(); r.OK < answered+10 {
			return fmt.Errorf("%d requests were answered", r.OK)
		}
		return nil
	})
	report := load.Stop()
	if err := repair(owner); err != nil {
		e.t.Fatal(err)
	}
	g := gap{wire: claim.Time.Sub(start)}
	if report.Lost > 0 {
		g.client = report.LastLoss.Sub(report.FirstLoss) + 10*time.Millisecond
	}
	return g
}

// summary says how gaps are distributed.
func summary(gaps []time.Duration) string {
	slices.Sort(gaps)
	n := len(gaps)
	return fmt.Sprintf("min %v, median %v, 90%% %v, max %v",
		gaps[0].Round(time.Millisecond), gaps[n/2].Round(time.Millisecond), gaps[n*9/10].Round(time.Millisecond), gaps[n-1].Round(time.Millisecond))
}

// An owner that fails is replaced on the wire within a second. The limits of the
// test leave room for a machine that is busy with other things.
func TestLayer2Failover(t *testing.T) {
	tests := []struct {
		name         string
		pool         string
		fail, repair func(e *e2e) func(*lab.Node) error
	}{
		{
			"cable cut", "[10.10.0.120/30]",
			func(e *e2e) func(*lab.Node) error {
				return func(n *lab.Node) error { return e.SetCable(e.t.Context(), n.Machine, false) }
			},
			func(e *e2e) func(*lab.Node) error {
				return func(n *lab.Node) error { return e.SetCable(e.t.Context(), n.Machine, true) }
			},
		},
		{
			"killed", "[10.10.0.124/30]",
			func(e *e2e) func(*lab.Node) error { return func(n *lab.Node) error { return e.Agent(n).Kill() } },
			func(e *e2e) func(*lab.Node) error { return func(n *lab.Node) error { return e.Agent(n).Start() } },
		},
		{
			"frozen", "[10.10.0.128/30]",
			func(e *e2e) func(*lab.Node) error {
				return func(n *lab.Node) error { return e.Agent(n).Process().Kill(unix.SIGSTOP) }
			},
			func(e *e2e) func(*lab.Node) error {
				return func(n *lab.Node) error { return e.Agent(n).Process().Kill(unix.SIGCONT) }
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e, w, a := failover(t, test.pool)
			var wire, client []time.Duration
			owner := e.owner(w, a)
			for range failures {
				g := e.fail(w, a, owner, test.fail(e), test.repair(e))
				wire, client = append(wire, g.wire), append(client, g.client)
				owner = e.settled(w, a)
			}
			t.Logf("until a new owner is on the wire: %s", summary(wire))
			t.Logf("without answers to the client: %s", summary(client))
			if median := wire[len(wire)/2]; median > time.Second {
				t.Errorf("the median until a new owner is on the wire is %v", median)
			}
		})
	}
}

// settled waits until all agents are alive for each other again, and none is held
// to be unreliable, and returns who answers then.
func (e *e2e) settled(w *lab.NeighborWatch, a netip.Addr) (owner *lab.Node) {
	e.t.Helper()
	e.eventually("all agents are alive", func(ctx context.Context) error {
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
	return e.owner(w, a)
}

// A planned stop of the owner loses nothing, nor does its return.
func TestLayer2PlannedStop(t *testing.T) {
	e, w, a := failover(t, "[10.10.0.132/30]")
	stop := e.loadFrom(e.LANClient, a, e.Nodes[2])
	for range 4 {
		owner := e.owner(w, a)
		start := time.Now()
		e.Agent(owner).Stop()
		t.Logf("%s stopped in %v", owner.Name, time.Since(start).Round(time.Millisecond))
		if next := e.owner(w, a); next == owner {
			t.Errorf("%s answers after it has stopped", owner.Name)
		}
		if err := e.Agent(owner).Start(); err != nil {
			t.Fatal(err)
		}
		e.settled(w, a)
	}
	stop()
}

// A rolling restart of all agents loses nothing.
func TestLayer2RollingRestart(t *testing.T) {
	e := newE2E(t)
	w := e.neighbors()
	e.configure(layer2Pool("[10.10.0.136/30]"))
	a := e.expose(lab.ServiceOptions{Name: "web"})[0]
	e.owner(w, a)
	stop := e.loadFrom(e.LANClient, a)
	for _, n := range e.Nodes {
		if err := e.Agent(n).Restart(); err != nil {
			t.Fatal(err)
		}
		e.settled(w, a)
	}
	stop()
}

// Failing over needs no API server.
func TestLayer2WithoutAPIServer(t *testing.T) {
	e, w, a := failover(t, "[10.10.0.140/30]")
	e.Cluster.StopAPIServer()
	owner := e.owner(w, a)
	mac, err := owner.MAC()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := e.SetCable(t.Context(), owner.Machine, false); err != nil {
		t.Fatal(err)
	}
	claim, err := w.WaitClaim(t.Context(), a, start, func(by l2.MAC) bool { return by != mac })
	if err != nil {
		t.Error(err)
	}
	t.Logf("a new owner is on the wire after %v", claim.Time.Sub(start).Round(time.Millisecond))
	if err := e.SetCable(t.Context(), owner.Machine, true); err != nil {
		t.Fatal(err)
	}
	if err := e.Cluster.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.settled(w, a)
}

// When only gossip is cut, the sides hear each other on the network itself, and one
// owner remains. When the cut is healed, that is so at once.
func TestLayer2Partition(t *testing.T) {
	e, w, a := failover(t, "[10.10.0.144/30]")
	for _, cutOff := range e.Nodes[:2] { // the owner, and the other one
		t.Run(cutOff.Name, func(t *testing.T) {
			e := *e
			e.t = t
			stop := e.loadFrom(e.LANClient, a, e.Nodes[2])
			cut := "table netdev cut { chain in { type filter hook ingress device eth0 priority 0; udp dport 7946 drop; tcp dport 7946 drop; tcp sport 7946 drop; }; }"
			if _, err := cutOff.Run(t.Context(), "nft", cut); err != nil {
				t.Fatal(err)
			}
			heal := sync.OnceFunc(func() {
				if _, err := cutOff.Run(context.Background(), "nft", "delete table netdev cut"); err != nil {
					t.Error(err)
				}
			})
			defer heal()
			e.metric(e.Agent(cutOff), "herald_members 1\n")
			start := time.Now()
			left := e.owner(w, a)
			t.Logf("%s is the one owner %v after the sides lost each other", left.Name, time.Since(start).Round(time.Millisecond))
			e.stays(5*time.Second, func() {
				if now := e.owner(w, a); now != left {
					t.Errorf("now %s is the owner", now.Name)
				}
			})
			start = time.Now()
			heal()
			left = e.settled(w, a)
			t.Logf("%s is the one owner %v after the healing", left.Name, time.Since(start).Round(time.Millisecond))
			mac, err := left.MAC()
			if err != nil {
				t.Fatal(err)
			}
			e.eventually("the owner has the last word", func(context.Context) error {
				claims := slices.DeleteFunc(w.Claims(a, start), func(c lab.NeighborClaim) bool { return c.Asked })
				if n := len(claims); n > 0 && claims[n-1].MAC != mac {
					return fmt.Errorf("%s had it", claims[n-1].MAC)
				}
				return nil
			})
			stop()
		})
	}
}

// When the cable between them is cut, each side has an owner, which goes on for the
// clients of its side.
func TestLayer2Isolation(t *testing.T) {
	e, w, a := failover(t, "[10.10.0.148/30]")
	owner := e.owner(w, a)
	if err := e.SetCable(t.Context(), owner.Machine, false); err != nil {
		t.Fatal(err)
	}
	defer e.SetCable(context.Background(), owner.Machine, true)
	if next := e.owner(w, a); next == owner {
		t.Errorf("%s is still heard", owner.Name)
	}
	if err := e.SetCable(t.Context(), owner.Machine, true); err != nil {
		t.Fatal(err)
	}
	e.settled(w, a)
}
