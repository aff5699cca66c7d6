// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/lab"
)

// Acceptance: B016, B017.
func TestBGPSessions(t *testing.T) {
	e := newE2E(t)
	e.configure(allPeers)
	e.established(e.ibgp, e.Nodes)
	e.established(e.ebgp, e.Nodes)
	e.eventually("sessions with r1", func(context.Context) error {
		for _, n := range e.Nodes {
			for _, a := range []netip.Addr{e.Router.Addr4, e.Router.Addr6} {
				if s := e.sessions(n)[a.String()]; s.State != "Established" {
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
	e := newE2E(t)
	peer := func(asn int, addr string) string {
		return fmt.Sprintf("- {my-asn: 64512, peer-asn: %d, peer-address: %q}\n", asn, addr)
	}
	doc := "peers:\n" + peer(64512, "10.10.0.200") + peer(64512, "fd00:10:10::200")
	e.configure(doc)
	e.established(e.ibgp, e.Nodes)
	e.established(e.ebgp, nil)
	before := e.connections()

	e.configure(doc + peer(64514, "10.10.0.201") + peer(64514, "fd00:10:10::201"))
	e.established(e.ebgp, e.Nodes)
	e.established(e.ibgp, e.Nodes)
	after := e.connections()
	for session, n := range before {
		if after[session] != n {
			t.Errorf("session %s was reset: established %d times, then %d", session, n, after[session])
		}
	}
	e.configure(doc)
	e.established(e.ebgp, nil)
	if diff := cmp.Diff(before, e.connections()); diff != "" {
		t.Errorf("sessions were reset (-before +after):\n%s", diff)
	}
}

func TestBGPRouterID(t *testing.T) { eachVersion(t, testBGPRouterID) }

func testBGPRouterID(t *testing.T, v lab.Version) {
	e := newE2E(t)
	n := e.nodeWith(v)
	const one = "peers:\n- {my-asn: 64512, peer-asn: 64512, peer-address: %q, router-id: 10.10.10.1, node-selectors: [{match-labels: {kubernetes.io/hostname: %s}}]}\n"
	for _, peer := range []netip.Addr{ibgp4, ibgp6} {
		e.configure(fmt.Sprintf(one, peer, n.Name))
		e.eventually("router ID", func(context.Context) error {
			s := e.sessions(n)[peer.String()]
			if s.State != "Established" || s.LocalRouterID != "10.10.10.1" {
				return fmt.Errorf("session with %s: %+v", peer, s)
			}
			for _, other := range e.othersThan(v) {
				if s, ok := e.sessions(other)[peer.String()]; ok {
					return fmt.Errorf("%s, which is not selected, has a session: %+v", other.Name, s)
				}
			}
			return nil
		})
	}
}

// Every key of a peer reaches the session, with each version of FRR.
func TestBGPPeerKeys(t *testing.T) {
	e := newE2E(t)
	routers := map[*lab.Node]*lab.GoBGP{} // of each node its own
	doc := "peers:\n"
	for i, v := range lab.Versions(t) {
		n := e.nodeWith(v)
		g, err := e.StartGoBGP(t.Context(), lab.GoBGPOptions{
			Name: "keys-" + n.Name, ASN: 64515, Port: 1179, Password: "tops3cret",
			Listen: []netip.Addr{onLAN(202 + i), onLAN6(202 + i)}, Peers: []netip.Addr{n.Addr4, n.Addr6},
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
`, addr, lanAddr(n, route(addr)), 100+n.Number, n.Name)
		}
	}
	e.configure(doc)
	for n, g := range routers {
		e.eventually("sessions of "+n.Name, func(context.Context) error {
			for _, addr := range g.Addrs {
				s := e.sessions(n)[addr.String()]
				source, id := lanAddr(n, route(addr)), fmt.Sprint("10.10.0.", 100+n.Number)
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
	e.configure(strings.ReplaceAll(doc, "tops3cret", "wrong"))
	for _, g := range routers {
		e.established(g, nil)
	}
	e.configure(doc)
	for n, g := range routers {
		e.established(g, []*lab.Node{n})
	}
}

// Peers of one node may have different AS numbers of ours.
func TestBGPLocalAS(t *testing.T) {
	e := newE2E(t)
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
	e.configure(`
peers:
- {my-asn: 64512, peer-asn: 64512, peer-address: 10.10.0.200}
- {my-asn: 64600, peer-asn: 64516, peer-address: 10.10.0.203}
address-pools:
- {name: p, protocol: bgp, addresses: [203.0.113.224/28]}
`)
	addr := e.expose(lab.ServiceOptions{Name: "web"})[0]
	e.learned(e.ibgp, route(addr), e.Nodes)
	for _, p := range e.learned(other, route(addr), e.Nodes) {
		if diff := cmp.Diff([]uint32{64600}, p.ASPath); diff != "" {
			t.Errorf("AS path from %s (-want +got):\n%s", p.Peer, diff)
		}
	}
}
