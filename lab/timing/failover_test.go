// SPDX-License-Identifier: Apache-2.0

package timing_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/e2e"
)

// failures is how often each kind of failure is tried.
const failures = 20

// A gap is how long an address was without an owner: on the wire, and as a client
// saw it that sends a request every ten milliseconds.
type gap struct{ wire, client time.Duration }

// fail makes the owner fail, and measures the gap. The repair comes when another
// node has taken over.
func fail(e *e2e.Test, w *lab.NeighborWatch, a netip.Addr, owner *lab.Node, fail, repair func(owner *lab.Node) error) gap {
	e.T.Helper()
	mac, err := owner.MAC()
	if err != nil {
		e.T.Fatal(err)
	}
	load := e.LANClient.StartLoad(lab.LoadOptions{
		URL: "http://" + netip.AddrPortFrom(a, 80).String() + "/", PerSecond: 100, Timeout: 400 * time.Millisecond,
	})
	e.Eventually("load", func(context.Context) error {
		if r := load.Report(); r.OK < 10 {
			return fmt.Errorf("%d requests were answered", r.OK)
		}
		return nil
	})
	start := time.Now()
	if err := fail(owner); err != nil {
		e.T.Fatal(err)
	}
	claim, err := w.WaitClaim(e.T.Context(), a, start, func(by l2.MAC) bool { return by != mac })
	if err != nil {
		e.T.Fatal(err)
	}
	answered := load.Report().OK
	e.Eventually("load after the failure", func(context.Context) error {
		if r := load.Report(); r.OK < answered+10 {
			return fmt.Errorf("%d requests were answered", r.OK)
		}
		return nil
	})
	report := load.Stop()
	if err := repair(owner); err != nil {
		e.T.Fatal(err)
	}
	g := gap{wire: claim.Time.Sub(start)}
	if report.Lost > 0 {
		g.client = report.LastLoss.Sub(report.FirstLoss) + 10*time.Millisecond
	}
	return g
}

// An owner that fails is replaced on the wire: within 0.2 s if its machine or process is
// gone, and within a second if its agent is frozen. The limits of the test leave room for a
// machine that is busy with other things.
func TestLayer2Failover(t *testing.T) {
	tests := []struct {
		name         string
		pool         string
		most         time.Duration // median
		fail, repair func(e *e2e.Test) func(*lab.Node) error
	}{
		{
			"cable cut", "[10.10.0.120/30]", 700 * time.Millisecond,
			func(e *e2e.Test) func(*lab.Node) error {
				return func(n *lab.Node) error { return e.SetCable(e.T.Context(), n.Machine, false) }
			},
			func(e *e2e.Test) func(*lab.Node) error {
				return func(n *lab.Node) error { return e.SetCable(e.T.Context(), n.Machine, true) }
			},
		},
		{
			"killed", "[10.10.0.124/30]", 700 * time.Millisecond,
			func(e *e2e.Test) func(*lab.Node) error { return func(n *lab.Node) error { return e.Agent(n).Kill() } },
			func(e *e2e.Test) func(*lab.Node) error { return func(n *lab.Node) error { return e.Agent(n).Start() } },
		},
		{
			"frozen", "[10.10.0.128/30]", 2 * time.Second,
			func(e *e2e.Test) func(*lab.Node) error {
				return func(n *lab.Node) error { return e.Agent(n).Process().Kill(unix.SIGSTOP) }
			},
			func(e *e2e.Test) func(*lab.Node) error {
				return func(n *lab.Node) error { return e.Agent(n).Process().Kill(unix.SIGCONT) }
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e, w, a := e2e.Failover(t, test.pool)
			var wire, client []time.Duration
			owner := e.Owner(w, a)
			for range failures {
				g := fail(e, w, a, owner, test.fail(e), test.repair(e))
				wire, client = append(wire, g.wire), append(client, g.client)
				owner = e.Settled(w, a)
			}
			t.Logf("until a new owner is on the wire: %s", summary(wire))
			t.Logf("without answers to the client: %s", summary(client))
			if median := wire[len(wire)/2]; median > test.most {
				t.Errorf("the median until a new owner is on the wire is %v, want at most %v", median, test.most)
			}
		})
	}
}
