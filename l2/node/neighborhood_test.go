// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/l2/members"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/table"
)

// A claim counts while gossip does not reach the node that answers.
func TestClaims(t *testing.T) {
	now := time.Now()
	mac := func(b byte) l2.MAC { return l2.MAC{2, 0, 0, 0, 0, b} }
	addr := func(b byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, b}) }
	known := map[l2.MAC]string{mac(1): "n1", mac(2): "n2", mac(3): "n3", mac(4): "n4"}
	answers := func(a byte, by ...byte) l2.Address {
		out := l2.Address{Addr: addr(a)}
		for _, b := range by {
			out.Contenders = append(out.Contenders, l2.Claim{MAC: mac(b), At: now})
		}
		return out
	}
	// n3 and n4 answer on eth0, and n3 alone on eth1.
	two := l2.Address{Addr: addr(6), Presences: []l2.Presence{{Interface: "eth0"}, {Interface: "eth1"}}, Contenders: []l2.Claim{
		{MAC: mac(3), Interface: "eth0", At: now}, {MAC: mac(30), Interface: "eth1", At: now}, {MAC: mac(4), Interface: "eth0", At: now},
	}}
	known[mac(30)] = "n3"
	s := l2.State{Addresses: []l2.Address{
		{Addr: addr(1), TakenBy: l2.Claim{MAC: mac(3), At: now}}, answers(2, 2), answers(3, 3), answers(4, 9), answers(5, 2, 3, 4), two,
	}}
	got := claims(s, func(mac l2.MAC) string { return known[mac] }, map[string]bool{"n1": true, "n2": true})
	want := map[netip.Addr][]announce.Claim{
		addr(3): {{Node: "n3", At: now}},
		addr(5): {{Node: "n3", At: now}, {Node: "n4", At: now}},
		addr(6): {{Node: "n3", Interface: "eth0", At: now}, {Node: "n3", Interface: "eth1", At: now}, {Node: "n4", Interface: "eth0", Partly: true, At: now}},
	}
	if diff := cmp.Diff(want, got, values); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

func TestConflicts(t *testing.T) {
	a, b, c := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")
	claim := l2.Claim{MAC: l2.MAC{2, 0, 0, 0, 0, 9}, Interface: "eth0", At: time.Now()}
	got := conflicts(l2.State{Addresses: []l2.Address{
		{Addr: a},
		{Addr: b, Conflict: claim, Presences: []l2.Presence{{Phase: l2.Announced}}},
		{Addr: c, Conflict: claim, Presences: []l2.Presence{{Phase: l2.Refused}}},
	}})
	want := map[netip.Addr]reconcile.Conflict{
		b: {By: "02:00:00:00:00:09", On: "eth0"},
		c: {By: "02:00:00:00:00:09", On: "eth0", Refused: true},
	}
	if diff := cmp.Diff(want, got, values); diff != "" {
		t.Errorf("conflicts (-want +got):\n%s", diff)
	}
}

// Without gossip every node counts as alive, and a node that stops waits for no other.
func TestWithoutGossip(t *testing.T) {
	l := New(Options{Node: "n1", Changed: func() {}, Logger: slog.New(slog.DiscardHandler)})
	l.SetNodes([]*cluster.Node{{Name: "n1"}, {Name: "n2"}})
	l.Ask(true)
	l.Tell(nil)
	if n := l.Neighborhood(); !n.Disabled || n.Stale || n.Asked || n.Leaving {
		t.Errorf("the neighborhood is %+v", n)
	}
	if l.Asked() {
		t.Error("something is known of n2")
	}
	l.Leave(t.Context(), nil) // returns at once
}

// Two nodes find each other once SetNodes was called, and a question for the neighborhood
// does nothing towards it. One that stops leaves its addresses to the other.
func TestNeighborhood(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).AddrPort().Port()
	free.Close()
	nodes := []*cluster.Node{
		{Name: "n1", Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}},
		{Name: "n2", Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.2")}},
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error)
	var layers []*Layer2
	for _, n := range nodes {
		l := New(Options{
			Node: n.Name, Bind: netip.AddrPortFrom(n.Addrs[0], port), Profile: members.Fast, Changed: func() {},
			Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
		layers = append(layers, l)
		go func() { ended <- l.members.Run(ctx) }()
	}
	await := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not after 10 s: %s: %+v", what, layers[0].Neighborhood())
			}
		}
	}
	for range 30 {
		for _, l := range layers {
			if n := l.Neighborhood(); !n.Stale || len(n.Members) != 1 {
				t.Fatalf("before the nodes are known the neighborhood is %+v", n)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, l := range layers {
		l.SetNodes(nodes)
	}
	await("both know each other", func() bool {
		a, b := layers[0].Neighborhood(), layers[1].Neighborhood()
		return !a.Stale && !b.Stale && len(a.Members) == 2 && len(b.Members) == 2
	})

	layers[0].Ask(true)
	await("n2 is asked", layers[1].Asked)
	sent := []announce.Sent{{Peers: []string{"tor"}, Runs: [][2]netip.Addr{{nodes[0].Addrs[0], nodes[0].Addrs[0]}}}}
	layers[1].Tell(sent)
	await("n2 has answered", func() bool {
		m := layers[0].Neighborhood().Members[1]
		return m.Answered && cmp.Equal(sent, m.Sent, values)
	})

	left := make(chan struct{})
	go func() {
		layers[1].Leave(ctx, nil)
		close(left)
	}()
	await("n2 leaves", func() bool { return layers[0].Neighborhood().Members[1].Leaving && layers[1].Neighborhood().Leaving })
	select {
	case <-left:
		t.Error("n2 has left with addresses to answer for")
	default:
	}
	var answers table.Editor[netip.Addr, *handover.Answer]
	answers.Set(netip.MustParseAddr("192.0.2.1"), &handover.Answer{Addr: netip.MustParseAddr("192.0.2.1"), Standby: true})
	layers[1].Set(answers.Table())
	select {
	case <-left:
	case <-time.After(time.Second):
		t.Error("n2 has nothing to answer for, and does not leave")
	}
	stop()
	for range layers {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
