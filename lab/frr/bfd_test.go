// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/e2e"
)

// A node with a passive profile says nothing before its router does: BFD comes up
// where the router begins, and not where it waits too. RFC 5880, Section 6.1.
func TestBGPBFDPassive(t *testing.T) {
	e := e2e.New(t)
	e.RouterBFD("passive-mode")
	begin := func() {
		t.Helper()
		if _, err := e.Router.FRR.Vtysh(context.Background(), "configure terminal", "bfd", "profile far", "no passive-mode"); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(begin)
	e.Configure(e2e.BFDPeers + "bfd-profiles: [{name: fast, passive-mode: true}]\n")
	want := e2e.BFDPeer{Status: "down", ReceiveInterval: 300, TransmitInterval: 300, DetectMultiplier: 3, EchoReceive: 50, Passive: true}
	// waiting reports a session of one of the nodes that is not there yet, or not
	// waiting.
	waiting := func(ctx context.Context, nodes []*lab.Node) error {
		for _, n := range nodes {
			near, err := e2e.BFDSessions(ctx, n.FRR)
			if err != nil {
				return err
			}
			for _, a := range []netip.Addr{e.Router.Addr4, e.Router.Addr6} {
				if diff := cmp.Diff(want, near[a].BFDPeer); diff != "" {
					return fmt.Errorf("%s to %s (-want +got):\n%s", n.Name, a, diff)
				}
			}
		}
		return nil
	}
	e.Eventually("nodes wait", func(ctx context.Context) error { return waiting(ctx, e.Nodes) })
	// FRR 10.3 makes another BFD session with each attempt at BGP, which waits for it,
	// and the new one may say something before it has its profile.
	steady := slices.DeleteFunc(slices.Clone(e.Nodes), func(n *lab.Node) bool { return slices.Contains(n.FRR.Daemons(), "mgmtd") })
	e.Stays(3*time.Second, func() { // an active end says something every second
		if err := waiting(t.Context(), steady); err != nil {
			t.Error(err)
		}
	})
	begin()
	e.Guarded(want, e.Router.Addr4, e.Router.Addr6)
}

// BFD over several hops takes packets that came a longer way only as far as the
// profile's minimum TTL allows. RFC 5883, Section 5.
func TestBGPBFDMultihop(t *testing.T) { e2e.VersionsAtOnce(t, testBGPBFDMultihop) }

func testBGPBFDMultihop(t *testing.T, v lab.Version) {
	lab.Need(t, e2e.Network...)
	top := lab.New(t, lab.Options{FRRRoot: v.Root})
	n1, n2, n3, r1 := top.Nodes[0], top.Nodes[1], top.Nodes[2], top.Router
	// r1's packets to n1 pass two other nodes, which say nothing of a shorter way.
	script := func(m *lab.Machine, via netip.Addr) {
		t.Helper()
		const detour = `for i in all eth0; do echo 0 >/proc/sys/net/ipv4/conf/$i/send_redirects; done; ip route replace "$1/32" via "$2"`
		if _, err := m.Run(e2e.Deadline(t), "sh", "-euc", detour, "sh", n1.Addr4.String(), via.String()); err != nil {
			t.Fatal(err)
		}
	}
	script(r1.Machine, n2.Addr4)
	script(n2.Machine, n3.Addr4)
	script(n3.Machine, n1.Addr4)
	peer := "neighbor " + n1.Addr4.String()
	// FRR 10.3 begins BFD before BGP is up only if it knows of it before it knows the
	// source address.
	_, err := r1.FRR.Vtysh(e2e.Deadline(t), "configure terminal", "router bgp 64513",
		peer+" remote-as 64512", peer+" bfd", peer+" ebgp-multihop 10", peer+" update-source "+r1.Client4.String(), peer+" passive",
		"address-family ipv4 unicast", peer+" activate")
	if err != nil {
		t.Fatal(err)
	}
	s := newSessionTest(t, top, n1)
	c := config.Config{
		Peers: []config.Peer{{
			Name: "far", MyASN: 64512, PeerASN: 64513, Address: r1.Client4, SourceAddress: n1.Addr4,
			EBGPMultiHop: true, BFDProfile: "far", ConnectTime: new(time.Second),
		}},
		BFDProfiles: []config.BFDProfile{{Name: "far", TransmitInterval: 100, ReceiveInterval: 100}},
	}
	wait := func(what string, want bool) {
		t.Helper()
		ctx := e2e.Deadline(t)
		for {
			all, err := e2e.BFDSessions(ctx, n1.FRR)
			if err != nil {
				t.Fatal(err)
			}
			b, ok := all[r1.Client4]
			far, err := e2e.BFDSessions(ctx, r1.FRR)
			if err != nil {
				t.Fatal(err)
			}
			if ok && b.MultiHop && (b.Status == "up") == want && far[n1.Addr4].Status != "" {
				return
			}
			select {
			case <-ctx.Done():
				t.Fatalf("%s: BFD is %+v, r1's %+v", what, b, far[n1.Addr4])
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	c.BFDProfiles[0].MinimumTTL = 254
	s.configure(c)
	ctx := e2e.Deadline(t)
	for {
		out, err := n1.Run(ctx, "ping", "-n", "-c", "1", "-W", "1", r1.Client4.String())
		if err == nil && strings.Contains(out, "ttl=62 ") {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("the packets of r1 take no detour: %v: %s", err, out)
		}
	}
	wait("one hop allowed", false)
	c.BFDProfiles[0].MinimumTTL = 253
	s.configure(c)
	wait("two hops allowed", true)
	s.session(n1, peerAt(r1.Client4), established)
}
