// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/e2e"
)

// A session has GTSM if both ends have it. It is down while one end does not send
// with TTL 255, and while the ends are further apart than one of them allows. RFC
// 5082, Section 3.
func TestBGPTTLSecurity(t *testing.T) { e2e.VersionsAtOnce(t, testBGPTTLSecurity) }

func testBGPTTLSecurity(t *testing.T, v lab.Version) {
	lab.Need(t, e2e.Network...)
	top := lab.New(t, lab.Options{FRRRoot: v.Root})
	n1, n2, r1 := top.Nodes[0], top.Nodes[1], top.Router
	s := newSessionTest(t, top, n1)
	router := func(a netip.Addr, lines ...string) {
		t.Helper()
		commands := []string{"configure terminal", "router bgp 64513"}
		for _, l := range lines {
			commands = append(commands, strings.ReplaceAll(l, "N", "neighbor "+a.String()))
		}
		if _, err := r1.FRR.Vtysh(e2e.Deadline(t), commands...); err != nil {
			t.Fatal(err)
		}
	}
	// kept checks that a change leaves a session up.
	kept := func(what string, before frr.Session, is func(frr.Session) error) frr.Session {
		t.Helper()
		after := s.session(n1, before.Peer, is)
		if after.Established != before.Established {
			t.Errorf("%s: session established %d times, then %d", what, before.Established, after.Established)
		}
		return after
	}
	// down waits until a session has ended and an attempt to open it came to nothing.
	down := func(p config.Peer) {
		t.Helper()
		s.session(n1, peerAt(p.Address), func(f frr.Session) error {
			if f.Up {
				return errors.New("it is up")
			}
			return nil
		})
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			s.session(n1, peerAt(p.Address), func(f frr.Session) error {
				if f.Up {
					t.Fatalf("%s with ttlSecurity %d: the session is up", p.Name, p.TTLSecurity)
				}
				return nil
			})
		}
	}
	peers := []config.Peer{
		{Name: "four", MyASN: 64512, PeerASN: 64513, Address: r1.Addr4, ConnectTime: new(time.Second)},
		{Name: "six", MyASN: 64512, PeerASN: 64513, Address: r1.Addr6, ConnectTime: new(time.Second)},
	}
	local := []netip.Addr{n1.Addr4, n1.Addr6}
	family := []string{"address-family ipv4 unicast", "address-family ipv6 unicast"}
	configure := func() { s.configure(config.Config{Peers: peers}) }

	for i := range peers { // before r1 takes the nodes for neighbors that it does not know
		router(local[i], "N remote-as 64512", "N timers connect 1", family[i], "N activate")
	}
	configure()
	for i, p := range peers {
		s.session(n1, peerAt(p.Address), established)
		peers[i].TTLSecurity = 1
	}
	configure() // r1 does not send with TTL 255
	for i, p := range peers {
		down(peers[i])
		router(local[i], "N ttl-security hops 1")
		s.session(n1, peerAt(p.Address), established)
	}
	var up [2]frr.Session
	for i, p := range peers {
		up[i] = s.session(n1, peerAt(p.Address), established)
	}
	configure()
	for i, p := range peers {
		kept(p.Name+", the same again", up[i], established)
	}

	// Another number of hops takes effect without a reset.
	for i := range peers {
		peers[i].TTLSecurity = 2
	}
	configure()
	for i, p := range peers {
		t.Logf("%s: another number of hops", p.Name)
		kept(p.Name+", two hops", up[i], established)
	}
	// The other end no longer sends with TTL 255.
	for i, p := range peers {
		router(local[i], "no N ttl-security hops 1")
		down(p)
		peers[i].TTLSecurity = 0
	}
	configure()
	for _, p := range peers {
		s.session(n1, peerAt(p.Address), established)
	}

	// r1's packets take a way of two hops.
	detour := func(m *lab.Machine, via netip.Addr) {
		t.Helper()
		const script = `for i in all eth0; do echo 0 >/proc/sys/net/ipv4/conf/$i/send_redirects; done; ip route replace "$1/32" via "$2"`
		if _, err := m.Run(e2e.Deadline(t), "sh", "-euc", script, "sh", n1.Addr4.String(), via.String()); err != nil {
			t.Fatal(err)
		}
	}
	detour(r1.Machine, n2.Addr4)
	router(n1.Addr4, "no N", "N remote-as 64512", "N timers connect 1", "N ttl-security hops 3", fmt.Sprint("N update-source ", r1.Client4), family[0], "N activate")
	for _, hops := range []uint8{1, 2} {
		peers = []config.Peer{{Name: "far", MyASN: 64512, PeerASN: 64513, Address: r1.Client4, SourceAddress: n1.Addr4, TTLSecurity: hops, ConnectTime: new(time.Second)}}
		configure()
		if hops == 1 {
			down(peers[0])
			continue
		}
		s.session(n1, peerAt(r1.Client4), established)
	}
}
