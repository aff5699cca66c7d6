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

	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/l2/members"
	"github.com/heraldlb/herald/reconcile"
)

// Hardware addresses of agents are remembered when the agents are gone, and belong to
// the agent that is alive where two had the same.
func TestAgents(t *testing.T) {
	mac := func(b byte) l2.MAC { return l2.MAC{2, 0, 0, 0, 0, b} }
	member := func(name string, macs ...byte) members.Member {
		m := members.Member{Name: name}
		for _, b := range macs {
			m.MACs = append(m.MACs, members.MAC(mac(b)))
		}
		return m
	}
	var a agents
	if got := a.node(mac(1)); got != "" {
		t.Errorf("before any was seen, an agent is on %q", got)
	}
	a.learn(members.View{Members: []members.Member{member("n1", 1), member("n2", 2, 3)}})
	a.learn(members.View{Members: []members.Member{member("n1", 1), member("n4", 3)}, Departed: []members.Member{member("n2", 2, 3)}})
	a.learn(members.View{Members: []members.Member{member("n1", 1)}})
	for b, want := range map[byte]string{1: "n1", 2: "n2", 3: "n4", 5: ""} {
		if got := a.node(mac(b)); got != want {
			t.Errorf("%v is on %q, want %q", mac(b), got, want)
		}
	}
	others := a.except("n1")
	slices.SortFunc(others, func(a, b l2.MAC) int { return slices.Compare(a[:], b[:]) })
	if diff := cmp.Diff([]l2.MAC{mac(2), mac(3)}, others); diff != "" {
		t.Errorf("all but n1 (-want +got):\n%s", diff)
	}
}

// Without gossip every node counts as alive, and nobody is asked to take over.
func TestWithoutGossip(t *testing.T) {
	l := New(Options{Node: "n1", Changed: func() {}, Logger: slog.New(slog.DiscardHandler)})
	l.SetNodes([]*reconcile.Node{{Name: "n1"}, {Name: "n2"}})
	l.Ask(true)
	l.Tell(nil)
	if n := l.Neighborhood(); !n.Disabled || n.Stale || n.Asked || n.Leaving {
		t.Errorf("the neighborhood is %+v", n)
	}
	if l.Asked() || l.Gone("n2") {
		t.Error("something is known of n2")
	}
	l.Leave(t.Context(), nil) // returns at once
}

// Two nodes find each other when they are told of the nodes of the cluster, and not by
// being asked for the neighborhood. One that stops leaves its addresses to the other.
func TestNeighborhood(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).AddrPort().Port()
	free.Close()
	nodes := []*reconcile.Node{
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
	if layers[0].Gone("n2") || !layers[0].Gone("n3") {
		t.Error("n2 is gone, or n3 is not")
	}

	layers[0].Ask(true)
	await("n2 is asked", layers[1].Asked)
	sent := []reconcile.Sent{{Peers: []string{"tor"}, Runs: [][2]netip.Addr{{nodes[0].Addrs[0], nodes[0].Addrs[0]}}}}
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
	if !layers[0].Gone("n2") {
		t.Error("n2 leaves, and is not gone")
	}
	select {
	case <-left:
		t.Error("n2 has left with addresses to answer for")
	default:
	}
	layers[1].Set([]reconcile.Answer{{Addr: netip.MustParseAddr("192.0.2.1"), Silent: true}})
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
