// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/frr/vty"
	"github.com/heraldlb/herald/lab"
)

// Running returns a daemon's running configuration.
func Running(t *testing.T, f *lab.FRR, daemon string) string {
	t.Helper()
	socket := f.Socket(daemon)
	if daemon == "zebra" && slices.Contains(f.Daemons(), "mgmtd") {
		socket = f.Socket("mgmtd") // which has zebra's configuration
	}
	conn, err := vty.Dial(Deadline(t), socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	replies, err := conn.Batch(Deadline(t), []string{"show running-config"})
	if err != nil {
		t.Fatal(err)
	}
	return replies[0].Output
}

// RouterPeer is a BGPPeer that is r1, with more of its fields.
func RouterPeer(name, address string, more ...string) string {
	return fmt.Sprintf("{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: %s}, spec: {myASN: 64512, peerASN: 64513, peerAddress: %q, %s}}",
		name, address, strings.Join(more, ", "))
}

// Absence returns how long a route was not there since a time, in all. r1's zebra
// replaces an IPv6 route by removing it and adding another: that takes the kernel
// some microseconds.
func Absence(history []lab.RouteChange, since time.Time) time.Duration {
	var sum time.Duration
	for i, c := range history {
		if c.Present || c.Time.Before(since) {
			continue
		}
		until := time.Now()
		if i+1 < len(history) {
			until = history[i+1].Time
		}
		sum += until.Sub(c.Time)
	}
	return sum
}

// RestartMode returns how a router sees its neighbor's graceful restart.
func RestartMode(t *testing.T, f *lab.FRR, neighbor netip.Addr) string {
	t.Helper()
	info, _ := NeighborJSON(t, f, neighbor.String())["gracefulRestartInfo"].(map[string]any)
	mode, _ := info["remoteGrMode"].(string)
	return mode
}

// AwaitStale waits until a router holds a route of a session that has ended.
func AwaitStale(t *testing.T, f *lab.FRR, p netip.Prefix) { t.Helper(); awaitPath(t, f, p, true) }

// AwaitFresh waits until the route is one of a session again.
func AwaitFresh(t *testing.T, f *lab.FRR, p netip.Prefix) { t.Helper(); awaitPath(t, f, p, false) }

func awaitPath(t *testing.T, f *lab.FRR, p netip.Prefix, stale bool) {
	t.Helper()
	ctx := Deadline(t)
	for {
		out, err := f.Vtysh(ctx, fmt.Sprintf("show bgp ipv4 unicast %s json", p))
		if err != nil {
			t.Fatal(err)
		}
		var route struct {
			Paths []struct {
				Stale bool `json:"stale"`
			} `json:"paths"`
		}
		if err := json.Unmarshal([]byte(out), &route); err != nil {
			t.Fatal(err)
		}
		if len(route.Paths) == 1 && route.Paths[0].Stale == stale {
			return
		}
	}
}

// Hears waits until a node's bgpd of an AS has had a route from a neighbor, whatever
// it made of it. For that bgpd keeps what it refuses from now on, and asks for it.
func Hears(t *testing.T, n *lab.Node, asn int, a netip.Addr, p netip.Prefix) {
	t.Helper()
	family := "ipv4 unicast"
	if p.Addr().Is6() {
		family = "ipv6 unicast"
	}
	keep := func(ctx context.Context, no string) error {
		_, err := n.FRR.Vtysh(ctx, "configure terminal", fmt.Sprint("router bgp ", asn), "address-family "+family,
			no+"neighbor "+a.String()+" soft-reconfiguration inbound")
		return err
	}
	ctx := Deadline(t)
	if err := keep(ctx, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := keep(context.Background(), "no "); err != nil {
			t.Error(err)
		}
	})
	for {
		out, err := n.FRR.Vtysh(ctx, fmt.Sprintf("show bgp %s neighbors %s received-routes json", family, a))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out, "soft reconfiguration not enabled") { // an agent has put its configuration right
			if err := keep(ctx, ""); err != nil {
				t.Fatal(err)
			}
			continue
		}
		var heard struct {
			Routes map[string]any `json:"receivedRoutes"`
		}
		if err := json.Unmarshal([]byte(out), &heard); err != nil {
			t.Fatalf("what %s heard from %s: %v: %s", n.Name, a, err, out)
		}
		if heard.Routes[p.String()] != nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s heard of %v from %s, not of %s", n.Name, slices.Sorted(maps.Keys(heard.Routes)), a, p)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Refuses checks that bgpd took no route from a neighbor.
func Refuses(t *testing.T, n *lab.Node, a netip.Addr) {
	t.Helper()
	families, _ := NeighborJSON(t, n.FRR, a.String())["addressFamilyInfo"].(map[string]any)
	if len(families) == 0 {
		t.Errorf("%s: no families", a)
	}
	for name, f := range families {
		if accepted, _ := f.(map[string]any)["acceptedPrefixCounter"].(float64); accepted > 0 {
			t.Errorf("%s: %v routes of %s accepted", a, accepted, name)
		}
	}
}

// NeighborJSON returns what bgpd says of a neighbor.
func NeighborJSON(t *testing.T, f *lab.FRR, name string) map[string]any {
	t.Helper()
	out, err := f.Vtysh(Deadline(t), "show bgp neighbors "+name+" json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]map[string]any
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatalf("neighbor %s: %v: %s", name, err, out)
	}
	return all[name]
}

// Refusals returns what has r1 refuse sessions with exactly the nodes that are named,
// until the test ends. There must be none yet.
func (e *Test) Refusals() (refuse func(nodes ...*lab.Node)) {
	r1 := func(ctx context.Context, commands ...string) {
		if _, err := e.Router.FRR.Vtysh(ctx, append([]string{"configure terminal", "router bgp 64513"}, commands...)...); err != nil {
			e.T.Error(err)
		}
	}
	for _, n := range e.Nodes {
		r1(e.T.Context(), "neighbor "+n.Addr4.String()+" peer-group nodes", "neighbor "+n.Addr4.String()+" timers connect 1")
	}
	e.T.Cleanup(func() {
		for _, n := range e.Nodes {
			r1(context.Background(), "no neighbor "+n.Addr4.String())
		}
	})
	refused := map[*lab.Node]bool{}
	return func(nodes ...*lab.Node) {
		e.T.Helper()
		now := map[*lab.Node]bool{}
		for _, n := range nodes {
			now[n] = true
		}
		for _, n := range e.Nodes {
			switch {
			case now[n] && !refused[n]:
				r1(e.T.Context(), "neighbor "+n.Addr4.String()+" shutdown")
			case !now[n] && refused[n]:
				r1(e.T.Context(), "no neighbor "+n.Addr4.String()+" shutdown")
			}
		}
		refused = now
	}
}
