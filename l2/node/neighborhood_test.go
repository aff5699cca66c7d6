// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/l2/members"
	"github.com/heraldlb/herald/table"
)

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

// What a member says stays the same lists while it says the same, whatever others say: decisions
// look only at what has changed.
func TestMembershipStays(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.1")
	v := members.View{
		Members: []members.Member{
			{Name: "n1", State: members.State{Judged: true, Faults: []members.Fault{{Addr: addr, Digest: 1}, {Addr: addr, Digest: 2, Unknown: true}}}},
			{Name: "n2", Answered: true, Sent: []members.Sent{{Peers: []string{"r"}, Runs: [][2]netip.Addr{{addr, addr}}}}},
			{Name: "n3", State: members.State{Judged: true, Faults: []members.Fault{{Addr: addr, Digest: 3}}}},
		},
		Departed: []members.Member{{Name: "n4", State: members.State{Held: []netip.Addr{addr}}}},
	}
	before, met := membershipOf(v, nil)
	want := announce.Membership{
		Members: []announce.Member{
			{Node: "n1", Faults: []announce.Fault{{Addr: addr, Digest: 1}, {Addr: addr, Digest: 2, Unknown: true}}},
			{Node: "n2", Unjudged: true, Answered: true, Sent: []announce.Sent{{Peers: []string{"r"}, Runs: [][2]netip.Addr{{addr, addr}}}}},
			{Node: "n3", Faults: []announce.Fault{{Addr: addr, Digest: 3}}},
		},
		Departed: []announce.Member{{Node: "n4", Unjudged: true, Held: []netip.Addr{addr}}},
	}
	same := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	if diff := cmp.Diff(want, before, same); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	v.Members = slices.Clone(v.Members)
	v.Members[2].Faults = []members.Fault{{Addr: addr, Digest: 4}}
	after, _ := membershipOf(v, met)
	if !sameSlice(before.Members[0].Faults, after.Members[0].Faults) || !sameSlice(before.Members[1].Sent, after.Members[1].Sent) {
		t.Error("what stays is another list")
	}
	if after.Members[2].Faults[0].Digest != 4 {
		t.Errorf("what has changed is %+v", after.Members[2].Faults)
	}
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

// When a node gave its last sign of life is known to who takes over its addresses.
func TestMembershipLost(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m := Membership(members.View{Departed: []members.Member{{Name: "n2", Lost: at}}})
	if diff := cmp.Diff([]announce.Member{{Node: "n2", Lost: at}}, m.Departed); diff != "" {
		t.Errorf("departed (-want +got):\n%s", diff)
	}
}
