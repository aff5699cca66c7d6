// SPDX-License-Identifier: Apache-2.0

package bgp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// Sessions that a router resets are back within twice the connect time of the peer,
// with the routes; sessions with other routers go on. The router sees the peer's
// router ID, and each session is for its own address family alone.
//
// Acceptance: B026, B027, B073, B075.
func TestBGPResourcesReset(t *testing.T) {
	const (
		connectTime = 5 * time.Second
		routerID    = "10.10.10.1"
	)
	r := e2e.NewResources(t)
	r.DeleteConfigMap()
	at := []netip.Addr{r.Router.Addr4, r.Router.Addr6}
	families := []string{"ipv4Unicast", "ipv6Unicast"}
	for i, name := range []string{"r1", "r1-v6"} {
		r.Apply(e2e.RouterPeer(name, at[i].String(), fmt.Sprintf("connectTime: %s", connectTime), "routerID: "+routerID))
	}
	r.Apply(peerPool + "---\n" + e2e.DocumentOf(e2e.PeerResources, "ibgp") + "\n---\n" + e2e.DocumentOf(e2e.PeerResources, "ibgp-v6"))
	addr := r.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	r.InKernel(e2e.Route(addr), r.Nodes)
	want := r.Connections()
	for _, n := range r.Nodes {
		conf := e2e.Running(t, n.FRR, "bgpd")
		for i, a := range at {
			if line := fmt.Sprintf(" neighbor %s timers connect 5\n", a); !strings.Contains(conf, line) {
				t.Errorf("%s has no line %q in:\n%s", n.Name, line, conf)
			}
			active, _ := e2e.NeighborJSON(t, n.FRR, a.String())["addressFamilyInfo"].(map[string]any)
			if got := slices.Sorted(maps.Keys(active)); !slices.Equal(got, families[i:i+1]) {
				t.Errorf("the session of %s with %s is for %q, want %q", n.Name, a, got, families[i:i+1])
			}
			if seen := e2e.NeighborJSON(t, r.Router.FRR, e2e.LANAddr(n, e2e.Route(a)).String())["remoteRouterId"]; seen != routerID {
				t.Errorf("r1 sees the router ID %v of %s by %s, want %s", seen, n.Name, a, routerID)
			}
			want[fmt.Sprintf("%s to %s", n.Name, a)]++
		}
	}

	start := time.Now()
	if _, err := r.Router.FRR.Vtysh(t.Context(), "clear bgp *"); err != nil {
		t.Fatal(err)
	}
	r.Eventually("sessions are back", func(context.Context) error {
		if diff := cmp.Diff(want, r.Connections()); diff != "" {
			return fmt.Errorf("how often they were established (-want +got):\n%s", diff)
		}
		return nil
	})
	took := time.Since(start)
	t.Logf("the sessions are back after %v", took.Round(time.Millisecond))
	if took > 2*connectTime {
		t.Errorf("the sessions are back after %v, want at most twice the connect time of %v", took, connectTime)
	}
	r.InKernel(e2e.Route(addr), r.Nodes)
	r.Reached(addr)
}

// Agents and FRR of all nodes are killed at once, and start again. By graceful restart
// r1 has the routes all the while, and clients lose no request.
//
// Acceptance: B006-B008.
func TestBGPResourcesRestart(t *testing.T) {
	r := e2e.NewResources(t)
	r.DeleteConfigMap()
	for name, a := range map[string]netip.Addr{"r1": r.Router.Addr4, "r1-v6": r.Router.Addr6} {
		r.Apply(e2e.RouterPeer(name, a.String(), "enableGracefulRestart: true", "connectTime: 1s"))
	}
	r.Apply(peerPool)
	addrs := r.Expose(controlplane.ServiceOptions{Name: "web", Families: []corev1.IPFamily{e2e.IPv4, e2e.IPv6}, FamilyPolicy: corev1.IPFamilyPolicyRequireDualStack})
	var stops []func()
	for _, a := range addrs {
		r.InKernel(e2e.Route(a), r.Nodes)
		stops = append(stops, r.Load(a))
	}
	since := time.Now()
	for _, n := range r.Nodes {
		if err := errors.Join(r.Agent(n).Kill(), n.FRR.Kill()); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range addrs {
		held(r, e2e.Route(a), true)
	}
	var g errgroup.Group
	for _, n := range r.Nodes {
		g.Go(func() error { return errors.Join(n.FRR.Start(t.Context()), r.Agent(n).Start()) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		held(r, e2e.Route(a), false)
		r.InKernel(e2e.Route(a), r.Nodes)
		r.Reached(a)
	}
	for _, stop := range stops {
		stop()
	}
	for _, a := range addrs {
		if away := e2e.Absence(r.Routes.History(e2e.Route(a)), since); away > 5*time.Millisecond {
			t.Errorf("r1 had no route to %s for %v", a, away)
		}
	}
}

// held waits until r1 has a route from each node, all of them of sessions that have
// ended, or of sessions that there are.
func held(r *e2e.Resources, p netip.Prefix, stale bool) {
	r.T.Helper()
	r.Eventually("r1's paths to "+p.String(), func(ctx context.Context) error {
		out, err := r.Router.FRR.Vtysh(ctx, fmt.Sprintf("show bgp %s unicast %s json", family(p.Addr()), p))
		if err != nil {
			return err
		}
		var table struct{ Paths []struct{ Stale bool } }
		if err := json.Unmarshal([]byte(out), &table); err != nil {
			return err
		}
		if len(table.Paths) != len(r.Nodes) {
			return fmt.Errorf("there are %d", len(table.Paths))
		}
		for _, path := range table.Paths {
			if path.Stale != stale {
				return fmt.Errorf("%+v, want stale %t", table.Paths, stale)
			}
		}
		return nil
	})
}
