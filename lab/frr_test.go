// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/e2e"
)

// A neighbor is a router that a node of these tests announces to.
type neighbor struct {
	addr     netip.Addr
	asn      uint32
	password string
	bfd      bool
	accept   bool // take its routes
}

// announceFrom has a node's FRR announce the service prefixes to neighbors, with
// communities.
func announceFrom(t *testing.T, n *lab.Node, neighbors ...neighbor) {
	t.Helper()
	var b strings.Builder
	// Without the first line, FRR would wait 5 seconds for more route-maps
	// before it connects.
	fmt.Fprintf(&b, `bgp route-map delay-timer 0
ip nht resolve-via-default
route-map in deny 10
exit
route-map out permit 10
 set community 65010:7
 set large-community 65010:1:2
exit
bfd
 profile lab
  transmit-interval 100
  receive-interval 100
 exit
exit
router bgp 64512
 bgp router-id %s
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
`, n.Addr4)
	for _, to := range neighbors {
		fmt.Fprintf(&b, " neighbor %s remote-as %d\n", to.addr, to.asn)
		fmt.Fprintf(&b, " neighbor %s timers connect 1\n", to.addr)
		if to.bfd {
			fmt.Fprintf(&b, " neighbor %s bfd profile lab\n", to.addr)
		}
		if to.password != "" {
			fmt.Fprintf(&b, " neighbor %s password %s\n", to.addr, to.password)
		}
	}
	for family, prefix := range map[string]netip.Prefix{"ipv4": e2e.Service, "ipv6": e2e.Service6} {
		fmt.Fprintf(&b, " address-family %s unicast\n  network %s\n", family, prefix)
		for _, to := range neighbors {
			if to.addr.Is4() != prefix.Addr().Is4() {
				continue
			}
			fmt.Fprintf(&b, "  neighbor %[1]s activate\n  neighbor %[1]s route-map out out\n", to.addr)
			if !to.accept {
				fmt.Fprintf(&b, "  neighbor %s route-map in in\n", to.addr)
			}
		}
		b.WriteString(" exit-address-family\n")
	}
	b.WriteString("exit\n")
	if err := n.FRR.Configure([]byte(b.String())); err != nil {
		t.Fatal(err)
	}
	if err := n.FRR.Load(e2e.Deadline(t)); err != nil {
		t.Fatal(err)
	}
}

func TestLabRouter(t *testing.T) { e2e.VersionsAtOnce(t, testLabRouter) }

func testLabRouter(t *testing.T, v lab.Version) {
	lab.Need(t, e2e.Network...)
	top := lab.New(t, lab.Options{FRRRoot: v.Root, Router: lab.RouterOptions{BFD: true, Password: "lab-password"}})
	n1, n2, n3 := top.Nodes[0], top.Nodes[1], top.Nodes[2]
	routes, err := top.Router.WatchRoutes()
	if err != nil {
		t.Fatal(err)
	}
	defer routes.Close()
	router := []neighbor{
		{addr: top.Router.Addr4, asn: 64513, password: "lab-password", bfd: true},
		{addr: top.Router.Addr6, asn: 64513, password: "lab-password", bfd: true},
	}

	start := time.Now()
	e2e.Serve(t, n1)
	announceFrom(t, n1, router...)
	e2e.Routed(t, routes, "first node configured", e2e.Service, start, lab.Via(n1.Addr4))
	e2e.Routed(t, routes, "first node configured, IPv6", e2e.Service6, start, lab.Via(n1.LinkLocal))
	for _, p := range []netip.Prefix{e2e.Service, e2e.Service6} {
		a, err := top.Client.Get(e2e.Deadline(t), e2e.ServiceURL(p))
		if err != nil {
			t.Fatal(err)
		}
		if a.Backend != "n1" || a.Local.Addr() != p.Addr() || (a.Client.Addr() != top.Client.Addr4 && a.Client.Addr() != top.Client.Addr6) {
			t.Errorf("got %+v, want an answer of n1 to the client", a)
		}
	}

	for _, n := range []*lab.Node{n2, n3} {
		e2e.Serve(t, n)
		announceFrom(t, n, router...)
	}
	e2e.Routed(t, routes, "all nodes configured", e2e.Service, start, lab.Via(n1.Addr4, n2.Addr4, n3.Addr4))
	e2e.Routed(t, routes, "all nodes configured, IPv6", e2e.Service6, start, lab.Via(n1.LinkLocal, n2.LinkLocal, n3.LinkLocal))

	load := top.Client.StartLoad(lab.LoadOptions{URL: e2e.ServiceURL(e2e.Service), PerSecond: 200})
	start = time.Now()
	if _, err := n2.FRR.Vtysh(e2e.Deadline(t), "configure terminal", "router bgp 64512", "address-family ipv4 unicast", fmt.Sprintf("no network %s", e2e.Service)); err != nil {
		t.Fatal(err)
	}
	e2e.Routed(t, routes, "one node withdrew", e2e.Service, start, lab.Via(n1.Addr4, n3.Addr4))
	report := load.Stop()
	t.Logf("load: %v", report)
	// n2 still answers what was under way: a withdrawal loses nothing.
	if got := slices.Sorted(maps.Keys(report.Backends)); report.Lost > 0 || !slices.Equal(got, []string{"n1", "n2", "n3"}) {
		t.Errorf("load: %v, want answers of all nodes and none lost: %v", report, report.LastError)
	}

	start = time.Now()
	if err := n3.FRR.Kill(); err != nil {
		t.Fatal(err)
	}
	e2e.Routed(t, routes, "one node's FRR killed", e2e.Service, start, lab.Via(n1.Addr4))
	start = time.Now()
	if err := n3.FRR.Start(e2e.Deadline(t)); err != nil {
		t.Fatal(err)
	}
	e2e.Routed(t, routes, "that FRR started again", e2e.Service, start, lab.Via(n1.Addr4, n3.Addr4))

	awaitBFD(t, top.Router, n1.Addr4)
	start = time.Now()
	if err := n1.FRR.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	e2e.Routed(t, routes, "one node's FRR frozen, noticed by BFD", e2e.Service, start, lab.Via(n3.Addr4))
	if err := n1.FRR.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	e2e.Routed(t, routes, "thawed", e2e.Service, time.Now(), lab.Via(n1.Addr4, n3.Addr4))
	start = time.Now()
	for _, n := range []*lab.Node{n1, n3} {
		n.FRR.Stop()
	}
	e2e.Routed(t, routes, "all stopped", e2e.Service, start, lab.Absent())
}

// awaitBFD waits until the router watches a node with BFD.
func awaitBFD(t *testing.T, r *lab.Router, node netip.Addr) {
	t.Helper()
	ctx := e2e.Deadline(t)
	for {
		out, err := r.FRR.Vtysh(ctx, fmt.Sprintf("show bfd peer %s", node))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out, "Status: up") {
			return
		}
	}
}

func TestLabGoBGP(t *testing.T) { e2e.VersionsAtOnce(t, testLabGoBGP) }

func testLabGoBGP(t *testing.T, v lab.Version) {
	lab.Need(t, e2e.Network...)
	top := lab.New(t, lab.Options{Nodes: 2, FRRRoot: v.Root})
	n1, n2 := top.Nodes[0], top.Nodes[1]
	internal, err := top.StartGoBGP(e2e.Deadline(t), lab.GoBGPOptions{Name: "internal", ASN: 64512})
	if err != nil {
		t.Fatal(err)
	}
	second := netip.MustParseAddr("10.10.0.201")
	external, err := top.StartGoBGP(e2e.Deadline(t), lab.GoBGPOptions{
		Name:     "external",
		ASN:      64999,
		Listen:   []netip.Addr{second},
		Peers:    []netip.Addr{n1.Addr4},
		Password: "lab-password",
	})
	if err != nil {
		t.Fatal(err)
	}
	events, err := internal.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	announceFrom(t, n1,
		neighbor{addr: top.Collector.Addr4, asn: 64512},
		neighbor{addr: top.Collector.Addr6, asn: 64512},
		neighbor{addr: second, asn: 64999, password: "lab-password"})
	announceFrom(t, n2,
		neighbor{addr: top.Collector.Addr4, asn: 64512, accept: true},
		neighbor{addr: second, asn: 64999, password: "lab-password"}) // which does not want it

	preference, med := uint32(100), uint32(0)
	path := func(p netip.Prefix, peer, hop netip.Addr) lab.Path {
		return lab.Path{
			Prefix: p, Peer: peer, NextHop: hop,
			LocalPref: &preference, MED: &med,
			Communities: []string{"65010:7"}, LargeCommunities: []string{"65010:1:2"},
		}
	}
	toExternal := path(e2e.Service, n1.Addr4, n1.Addr4)
	toExternal.ASPath, toExternal.LocalPref = []uint32{64512}, nil
	tests := []struct {
		name   string
		router *lab.GoBGP
		want   []lab.Path
	}{
		{"an internal router", internal, []lab.Path{
			path(e2e.Service, n1.Addr4, n1.Addr4),
			path(e2e.Service, n2.Addr4, n2.Addr4),
			path(e2e.Service6, n1.Addr6, n1.Addr6),
		}},
		{"an external router with a password", external, []lab.Path{toExternal}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.router.WaitPaths(e2e.Deadline(t), func(got []lab.Path) error {
				if diff := cmp.Diff(tt.want, got, e2e.Values); diff != "" {
					return errors.New("paths (-want +got):\n" + diff)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}

	t.Run("an injected route", func(t *testing.T) {
		prefix := netip.MustParsePrefix("203.0.113.0/24")
		learned, err := n2.WatchRoutes()
		if err != nil {
			t.Fatal(err)
		}
		defer learned.Close()
		start := time.Now()
		if err := internal.Inject(e2e.Deadline(t), prefix, top.Router.Addr4); err != nil {
			t.Fatal(err)
		}
		e2e.Routed(t, learned, "the node that accepts it", prefix, start, lab.Via(top.Router.Addr4))
		refused, err := n1.Routes()
		if err != nil {
			t.Fatal(err)
		}
		if hops, ok := refused[prefix]; ok {
			t.Errorf("n1, which accepts none, has a route to %s via %v", prefix, hops)
		}
		start = time.Now()
		if err := internal.Retract(e2e.Deadline(t), prefix, top.Router.Addr4); err != nil {
			t.Fatal(err)
		}
		e2e.Routed(t, learned, "retracted", prefix, start, lab.Absent())
	})

	t.Run("events", func(t *testing.T) {
		want := map[lab.EventKind]int{lab.SessionUp: 3, lab.PathLearned: 3, lab.SessionDown: 1}
		if err := n2.FRR.Kill("bgpd"); err != nil {
			t.Fatal(err)
		}
		got := make(map[lab.EventKind]int)
		for e := range events {
			if got[e.Kind]++; e.Kind == lab.SessionDown && e.Peer == n2.Addr4 {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if err := internal.WaitSession(e2e.Deadline(t), n2.Addr4, false); err != nil {
			t.Error(err)
		}
	})
}
