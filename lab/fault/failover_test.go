// SPDX-License-Identifier: Apache-2.0

package fault_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// A planned stop of the owner loses nothing, nor does its return.
func TestLayer2PlannedStop(t *testing.T) {
	e, w, a := e2e.Failover(t, "[10.10.0.132/30]")
	stop := e.LoadFrom(e.LANClient, a, e.Nodes[2])
	for range 4 {
		owner := e.Owner(w, a)
		start := time.Now()
		e.Agent(owner).Stop()
		t.Logf("%s stopped in %v", owner.Name, time.Since(start).Round(time.Millisecond))
		if next := e.Owner(w, a); next == owner {
			t.Errorf("%s answers after it has stopped", owner.Name)
		}
		if err := e.Agent(owner).Start(); err != nil {
			t.Fatal(err)
		}
		e.Settled(w, a)
	}
	stop()
}

// A rolling restart of all agents loses nothing.
func TestLayer2RollingRestart(t *testing.T) {
	e := e2e.New(t)
	w := e.Neighbors()
	e.Configure(e2e.Layer2Pool("[10.10.0.136/30]"))
	a := e.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	e.Owner(w, a)
	stop := e.LoadFrom(e.LANClient, a)
	for _, n := range e.Nodes {
		if err := e.Agent(n).Restart(); err != nil {
			t.Fatal(err)
		}
		e.Settled(w, a)
	}
	stop()
}

// Failing over needs no API server.
func TestLayer2WithoutAPIServer(t *testing.T) {
	e, w, a := e2e.Failover(t, "[10.10.0.140/30]")
	e.Cluster.StopAPIServer()
	owner := e.Owner(w, a)
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
	e.Settled(w, a)
	hears(e)
}

// When only gossip is cut, the sides hear each other on the network itself, and one
// owner remains. When the cut is healed, that is so at once.
func TestLayer2Partition(t *testing.T) {
	e, w, a := e2e.Failover(t, "[10.10.0.144/30]")
	for _, cutOff := range e.Nodes[:2] { // the owner, and the other one
		t.Run(cutOff.Name, func(t *testing.T) {
			e := *e
			e.T = t
			stop := e.LoadFrom(e.LANClient, a, e.Nodes[2])
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
			e.Metric(e.Agent(cutOff), "herald_members 1\n")
			start := time.Now()
			left := e.Owner(w, a)
			t.Logf("%s is the one owner %v after the sides lost each other", left.Name, time.Since(start).Round(time.Millisecond))
			e.Stays(5*time.Second, func() {
				if now := e.Owner(w, a); now != left {
					t.Errorf("now %s is the owner", now.Name)
				}
			})
			start = time.Now()
			heal()
			left = e.Settled(w, a)
			t.Logf("%s is the one owner %v after the healing", left.Name, time.Since(start).Round(time.Millisecond))
			mac, err := left.MAC()
			if err != nil {
				t.Fatal(err)
			}
			e.Eventually("the owner has the last word", func(context.Context) error {
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
	e, w, a := e2e.Failover(t, "[10.10.0.148/30]")
	owner := e.Owner(w, a)
	if err := e.SetCable(t.Context(), owner.Machine, false); err != nil {
		t.Fatal(err)
	}
	defer e.SetCable(context.Background(), owner.Machine, true)
	if next := e.Owner(w, a); next == owner {
		t.Errorf("%s is still heard", owner.Name)
	}
	if err := e.SetCable(t.Context(), owner.Machine, true); err != nil {
		t.Fatal(err)
	}
	e.Settled(w, a)
}
