// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/reconcile"
)

// A node that is drained under load loses no request: routers are asked to prefer
// the others before its route goes. Its sessions stay. Undrained, it announces
// again.
func TestBGPDrain(t *testing.T) {
	e := newE2E(t)
	e.configure(allPeers + `
address-pools:
- {name: p, protocol: bgp, addresses: [203.0.113.240/28]}
`)
	addr := e.expose(lab.ServiceOptions{Name: "web"})[0]
	p := route(addr)
	e.inKernel(p, e.Nodes)
	e.learned(e.ibgp, p, e.Nodes)
	heraldctl := func(args ...string) {
		t.Helper()
		args = append(args, "--kubeconfig="+e.Cluster.Kubeconfig(lab.Admin))
		if out, err := exec.CommandContext(t.Context(), "../bin/heraldctl", args...).CombinedOutput(); err != nil {
			t.Fatalf("heraldctl %v: %v: %s", args, err, out)
		}
	}
	drained, others := e.Nodes[0], e.Nodes[1:]
	t.Cleanup(func() { heraldctlCleanup(t, e, drained) })
	connections := e.connections()
	stop := e.load(addr)

	start := time.Now()
	heraldctl("drain", drained.Name)
	e.eventually("graceful shutdown", func(ctx context.Context) error {
		for g, pref := range map[*lab.GoBGP]uint32{e.ibgp: 0, e.ebgp: 0} {
			paths, err := g.Paths(ctx)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(paths, func(path lab.Path) bool { return path.Prefix == p && path.Peer == drained.Addr4 })
			if i < 0 {
				return fmt.Errorf("no path from %s", drained.Name)
			}
			if got := attributesOf(paths[i]); !slices.Contains(got.Communities, "65535:0") || got.LocalPref != pref {
				return fmt.Errorf("path from %s has %+v", drained.Name, got)
			}
		}
		return nil
	})
	asked := time.Since(start)
	e.inKernel(p, others) // r1 does as it is asked
	e.learned(e.ibgp, p, others)
	withdrawn := time.Since(start)
	t.Logf("other paths preferred after %v, withdrawn after %v", asked.Round(time.Millisecond), withdrawn.Round(time.Millisecond))
	if withdrawn < reconcile.DefaultDrainHold-time.Second || asked > 3*time.Second {
		t.Errorf("want the routes withdrawn %v after routers were asked", reconcile.DefaultDrainHold)
	}

	// The last one stays.
	heraldctl("drain", others[0].Name)
	t.Cleanup(func() { heraldctlCleanup(t, e, others[0]) })
	e.inKernel(p, others[1:])
	e.learned(e.ibgp, p, others[1:])
	heraldctl("drain", others[1].Name)
	t.Cleanup(func() { heraldctlCleanup(t, e, others[1]) })
	e.stays(reconcile.DefaultDrainHold+2*time.Second, func() { e.learned(e.ibgp, p, others[1:]) })

	// Others are back: it stays until routers have followed them.
	heraldctl("undrain", drained.Name)
	e.inKernel(p, e.Nodes[:1])
	e.stays(reconcile.DefaultDrainHold-3*time.Second, func() { e.learned(e.ibgp, p, []*lab.Node{drained, others[1]}) })
	e.learned(e.ibgp, p, e.Nodes[:1])

	for _, n := range others {
		heraldctl("undrain", n.Name)
	}
	e.inKernel(p, e.Nodes)
	stop()
	for session, n := range connections {
		if got := e.connections()[session]; got != n {
			t.Errorf("session %s was established %d times, then %d", session, n, got)
		}
	}
}

// stays looks again and again, for a time, whether something is still so.
func (e *e2e) stays(d time.Duration, check func()) {
	e.t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
		check()
	}
}

// heraldctlCleanup has a node announce again, whatever became of the test.
func heraldctlCleanup(t *testing.T, e *e2e, n *lab.Node) {
	out, err := exec.Command("../bin/heraldctl", "undrain", n.Name, "--kubeconfig="+e.Cluster.Kubeconfig(lab.Admin)).CombinedOutput()
	if err != nil {
		t.Errorf("undrain %s: %v: %s", n.Name, err, strings.TrimSpace(string(out)))
	}
}
