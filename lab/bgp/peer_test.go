// SPDX-License-Identifier: Apache-2.0

package bgp_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// Acceptance: B016, B017.
func TestBGPSessions(t *testing.T) {
	e := e2e.New(t)
	e.Configure(e2e.AllPeers)
	e.Established(e.IBGP, e.Nodes)
	e.Established(e.EBGP, e.Nodes)
	e.Eventually("sessions with r1", func(context.Context) error {
		for _, n := range e.Nodes {
			for _, a := range []netip.Addr{e.Router.Addr4, e.Router.Addr6} {
				if s := e.Sessions(n)[a.String()]; s.State != "Established" {
					return fmt.Errorf("%s to %s is %q", n.Name, a, s.State)
				}
			}
		}
		return nil
	})
}

// Peers that are added or removed leave the sessions with the others alone.
//
// Acceptance: B045, B046.
func TestBGPPeerAdded(t *testing.T) {
	e := e2e.New(t)
	peer := func(asn int, addr string) string {
		return fmt.Sprintf("- {my-asn: 64512, peer-asn: %d, peer-address: %q}\n", asn, addr)
	}
	doc := "peers:\n" + peer(64512, "10.10.0.200") + peer(64512, "fd00:10:10::200")
	e.Configure(doc)
	e.Established(e.IBGP, e.Nodes)
	e.Established(e.EBGP, nil)
	before := e.Connections()

	e.Configure(doc + peer(64514, "10.10.0.201") + peer(64514, "fd00:10:10::201"))
	e.Established(e.EBGP, e.Nodes)
	e.Established(e.IBGP, e.Nodes)
	after := e.Connections()
	for session, n := range before {
		if after[session] != n {
			t.Errorf("session %s was reset: established %d times, then %d", session, n, after[session])
		}
	}
	e.Configure(doc)
	e.Established(e.EBGP, nil)
	if diff := cmp.Diff(before, e.Connections()); diff != "" {
		t.Errorf("sessions were reset (-before +after):\n%s", diff)
	}
}

func TestBGPRouterID(t *testing.T) { e2e.EachVersion(t, testBGPRouterID) }

func testBGPRouterID(t *testing.T, v lab.Version) {
	e := e2e.New(t)
	n := e.NodeWith(v)
	const one = "peers:\n- {my-asn: 64512, peer-asn: 64512, peer-address: %q, router-id: 10.10.10.1, node-selectors: [{match-labels: {kubernetes.io/hostname: %s}}]}\n"
	for _, peer := range []netip.Addr{e2e.IBGP4, e2e.IBGP6} {
		e.Configure(fmt.Sprintf(one, peer, n.Name))
		e.Eventually("router ID", func(context.Context) error {
			s := e.Sessions(n)[peer.String()]
			if s.State != "Established" || s.LocalRouterID != "10.10.10.1" {
				return fmt.Errorf("session with %s: %+v", peer, s)
			}
			for _, other := range e.OthersThan(v) {
				if s, ok := e.Sessions(other)[peer.String()]; ok {
					return fmt.Errorf("%s, which is not selected, has a session: %+v", other.Name, s)
				}
			}
			return nil
		})
	}
}

// Every key of a peer reaches the session, with each version of FRR.
func TestBGPPeerKeys(t *testing.T) {
	e := e2e.New(t)
	routers := map[*lab.Node]*lab.GoBGP{} // of each node its own
	doc := "peers:\n"
	for i, v := range lab.Versions(t) {
		n := e.NodeWith(v)
		g, err := e.StartGoBGP(t.Context(), lab.GoBGPOptions{
			Name: "keys-" + n.Name, ASN: 64515, Port: 1179, Password: "tops3cret",
			Listen: []netip.Addr{e2e.OnLAN(202 + i), e2e.OnLAN6(202 + i)}, Peers: []netip.Addr{n.Addr4, n.Addr6},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := g.Stop(); err != nil {
				t.Error(err)
			}
		})
		routers[n] = g
		for _, addr := range g.Addrs {
			doc += fmt.Sprintf(`- {my-asn: 64512, peer-asn: 64515, peer-address: %q, peer-port: 1179, source-address: %q, hold-time: 30s,
   keepalive-time: 5s, router-id: 10.10.0.%d, password: tops3cret, ebgp-multihop: true,
   node-selectors: [{match-labels: {kubernetes.io/hostname: %s}}]}
`, addr, e2e.LANAddr(n, e2e.Route(addr)), 100+n.Number, n.Name)
		}
	}
	e.Configure(doc)
	for n, g := range routers {
		e.Eventually("sessions of "+n.Name, func(context.Context) error {
			for _, addr := range g.Addrs {
				s := e.Sessions(n)[addr.String()]
				source, id := e2e.LANAddr(n, e2e.Route(addr)), fmt.Sprint("10.10.0.", 100+n.Number)
				if s.State != "Established" || s.RemotePort != 1179 || s.LocalHost != source.String() || s.LocalRouterID != id {
					return fmt.Errorf("session with %s: %+v", addr, s)
				}
				// GoBGP offers 9 s, the lower of the two counts. RFC 4271, Section 4.2.
				if s.HoldTimeMs != 9000 {
					return fmt.Errorf("session with %s: hold time is %d ms", addr, s.HoldTimeMs)
				}
			}
			return nil
		})
		out, err := n.FRR.Vtysh(t.Context(), "show running-config")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"timers 5 30\n", "ebgp-multihop ", fmt.Sprintf("update-source %s\n", n.Addr4)} {
			if !strings.Contains(out, fmt.Sprintf(" neighbor %s ", g.Addrs[0])+want) {
				t.Errorf("FRR's configuration of %s on %s has no line %q", g.Addrs[0], n.Name, want)
			}
		}
	}

	// A wrong password ends the sessions, and the right one brings them back.
	e.Configure(strings.ReplaceAll(doc, "tops3cret", "wrong"))
	for _, g := range routers {
		e.Established(g, nil)
	}
	e.Configure(doc)
	for n, g := range routers {
		e.Established(g, []*lab.Node{n})
	}
}

// Peers of one node may have different AS numbers of ours.
func TestBGPLocalAS(t *testing.T) {
	e := e2e.New(t)
	other, err := e.StartGoBGP(t.Context(), lab.GoBGPOptions{
		Name: "other", ASN: 64516, PeerASN: 64600, Listen: []netip.Addr{netip.MustParseAddr("10.10.0.203")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := other.Stop(); err != nil {
			t.Error(err)
		}
	})
	e.Configure(`
peers:
- {my-asn: 64512, peer-asn: 64512, peer-address: 10.10.0.200}
- {my-asn: 64600, peer-asn: 64516, peer-address: 10.10.0.203}
address-pools:
- {name: p, protocol: bgp, addresses: [203.0.113.224/28]}
`)
	addr := e.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	e.Learned(e.IBGP, e2e.Route(addr), e.Nodes)
	for _, p := range e.Learned(other, e2e.Route(addr), e.Nodes) {
		if diff := cmp.Diff([]uint32{64600}, p.ASPath); diff != "" {
			t.Errorf("AS path from %s (-want +got):\n%s", p.Peer, diff)
		}
	}
}
