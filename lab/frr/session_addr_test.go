// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/e2e"
)

// Between which addresses a session is, and how far away they may be.
func TestBGPSessionAddresses(t *testing.T) { e2e.VersionsAtOnce(t, testBGPSessionAddresses) }

func testBGPSessionAddresses(t *testing.T, v lab.Version) {
	lab.Need(t, e2e.Network...)
	top := lab.New(t, lab.Options{Nodes: 1, FRRRoot: v.Root})
	n1, r1 := top.Nodes[0], top.Router
	ip := func(t *testing.T, commands ...string) {
		t.Helper()
		for _, c := range commands {
			if _, err := n1.Run(context.Background(), "sh", "-euc", "ip "+c); err != nil {
				t.Error(err)
			}
		}
	}

	// The routers take nobody but the node's second addresses, which its kernel
	// chooses for no connection by itself.
	t.Run("source", func(t *testing.T) {
		s := newSessionTest(t, top, n1)
		second, second6 := e2e.OnLAN(151), e2e.OnLAN6(151)
		ip(t, "addr add 10.10.0.151/24 dev eth0", "addr add fd00:10:10::151/64 dev eth0 preferred_lft 0")
		t.Cleanup(func() {
			ip(t, "addr del 10.10.0.151/24 dev eth0", "addr del fd00:10:10::151/64 dev eth0")
		})
		four := s.gobgp(lab.GoBGPOptions{ASN: 64601, Listen: []netip.Addr{e2e.OnLAN(152)}, Peers: []netip.Addr{second}})
		six := s.gobgp(lab.GoBGPOptions{ASN: 64601, Listen: []netip.Addr{e2e.OnLAN6(153)}, Peers: []netip.Addr{second6}})
		p := config.Peer{Name: "four", MyASN: 64512, PeerASN: 64601, Address: e2e.OnLAN(152), SourceAddress: second, ConnectTime: new(time.Second)}
		q := config.Peer{Name: "six", MyASN: 64512, PeerASN: 64601, Address: e2e.OnLAN6(153), SourceAddress: second6, ConnectTime: new(time.Second)}
		s.configure(config.Config{Peers: []config.Peer{p, q}})
		s.paths(four, sent(e2e.Service, second, second, 64512))
		s.paths(six, sent(e2e.Service6, second6, second6, 64512))
	})

	// r1's addresses at the clients' side are in no network of the node's.
	t.Run("several hops", func(t *testing.T) {
		s := newSessionTest(t, top, n1)
		routes, err := r1.WatchRoutes()
		if err != nil {
			t.Fatal(err)
		}
		defer routes.Close()
		c := config.Config{Peers: []config.Peer{
			{Name: "r1-6", MyASN: 64512, PeerASN: 64513, Address: r1.Client6, EBGPMultiHop: true, ConnectTime: new(time.Second)},
		}}
		start := time.Now()
		s.configure(c)
		s.session(n1, peerAt(r1.Client6), established)
		e2e.Routed(t, routes, "over several hops, IPv6", e2e.Service6, start, lab.Present())
		c.Peers[0].Name, c.Peers[0].Address = "r1", r1.Client4
		start = time.Now()
		s.configure(c)
		s.session(n1, peerAt(r1.Client4), established)
		e2e.Routed(t, routes, "over several hops", e2e.Service, start, lab.Present())
	})

	// DHCPv6 gives a node an address without the network that it is in.
	t.Run("no connected network", func(t *testing.T) {
		s := newSessionTest(t, top, n1)
		ip(t, "-6 addr del fd00:10:10::1/64 dev eth0", "-6 addr add fd00:10:10::1/128 dev eth0", "-6 route add fd00:10:10::/64 dev eth0")
		t.Cleanup(func() {
			ip(t, "-6 route del fd00:10:10::/64 dev eth0", "-6 addr del fd00:10:10::1/128 dev eth0", "-6 addr add fd00:10:10::1/64 dev eth0")
		})
		g := s.gobgp(lab.GoBGPOptions{ASN: 64601, Listen: []netip.Addr{e2e.OnLAN6(154)}})
		p := config.Peer{Name: "six", MyASN: 64512, PeerASN: 64601, Address: e2e.OnLAN6(154), ConnectTime: new(time.Second)}
		s.configure(config.Config{Peers: []config.Peer{p}})
		s.paths(g, sent(e2e.Service6, n1.Addr6, n1.Addr6, 64512))
	})
}
