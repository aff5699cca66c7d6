// SPDX-License-Identifier: Apache-2.0

package members_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/l2/members"
	"github.com/heraldlb/herald/l2/members/memberstest"
)

// A cluster is agents on a network in memory that the test can cut. Tests run them in a
// bubble of synctest, so that a busy machine does not make an agent look dead.
type cluster struct {
	tb    testing.TB
	peers []netip.AddrPort
	wires *memberstest.Network // nil: sockets
	told  []members.Node       // at the start of an agent; nil: all
}

// inBubble runs a test in a bubble, in which memberlist's last timers end too.
func inBubble(t *testing.T, f func(*testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) })
		f(t)
	})
}

func newCluster(tb testing.TB, size int) *cluster {
	c := &cluster{tb: tb, wires: memberstest.New()}
	c.addPeers(size, netip.AddrFrom4([4]byte{192, 0, 2, 0}))
	return c
}

// newRealCluster is a cluster with the sockets and the clock of the machine, on loopback
// addresses of this process.
func newRealCluster(tb testing.TB, size int) *cluster {
	c := &cluster{tb: tb}
	id := os.Getpid()
	c.addPeers(size, netip.AddrFrom4([4]byte{127, byte(1 + id>>8&0x7f), byte(id), 0}))
	return c
}

func (c *cluster) addPeers(size int, addr netip.Addr) {
	for range size {
		addr = addr.Next()
		c.peers = append(c.peers, netip.AddrPortFrom(addr, 7946))
	}
}

func (c *cluster) name(i int) string { return fmt.Sprintf("n%02d", i+1) }

func (c *cluster) addr(i int) netip.Addr { return c.peers[i].Addr() }

// nodes returns the nodes of all agents.
func (c *cluster) nodes() (out []members.Node) {
	for i := range c.peers {
		out = append(out, members.Node{Name: c.name(i), Addrs: []netip.Addr{c.addr(i)}})
	}
	return out
}

// options returns those of agent i.
func (c *cluster) options(i int) members.Options {
	start := time.Now()
	opts := members.Options{
		Node:   c.name(i),
		Bind:   c.peers[i],
		Keys:   [][]byte{members.Key("secret")},
		Logger: slog.New(slog.NewTextHandler(c.tb.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})).With("self", c.name(i)),
	}
	if c.wires == nil {
		return opts
	}
	opts.Transport = c.wires.Connect(c.peers[i])
	opts.Clock = func() (time.Duration, error) { return time.Since(start) + time.Minute, nil }
	return opts
}

// An agent is one member of a cluster.
type agent struct {
	*members.List
	tb      testing.TB
	changed chan struct{}
	stop    func() error // and wait; may be called again
}

// start runs agent i until the test ends, or it is stopped.
func (c *cluster) start(i int, adjust ...func(*members.Options)) *agent {
	c.tb.Helper()
	opts := c.options(i)
	a := &agent{tb: c.tb, changed: make(chan struct{}, 1)}
	opts.Changed = func() {
		select {
		case a.changed <- struct{}{}:
		default:
		}
	}
	for _, f := range adjust {
		f(&opts)
	}
	a.List = members.New(opts)
	nodes := c.nodes()
	if c.told != nil {
		nodes = c.told
	}
	a.SetNodes(nodes)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	a.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	c.tb.Cleanup(func() {
		if err := a.stop(); err != nil {
			c.tb.Errorf("%s: %v", c.name(i), err)
		}
	})
	return a
}

// startAll runs all agents and waits until they know each other.
func (c *cluster) startAll(adjust ...func(*members.Options)) []*agent {
	c.tb.Helper()
	var agents []*agent
	var names []string
	for i := range c.peers {
		agents = append(agents, c.start(i, adjust...))
		names = append(names, c.name(i))
	}
	slices.Sort(names)
	for _, a := range agents {
		a.await(fmt.Sprintf("all %d alive", len(names)), func(v members.View) bool {
			return !v.Stale && slices.Equal(v.Alive(), names)
		})
	}
	return agents
}

// await waits for a view.
func (a *agent) await(what string, ok func(members.View) bool) members.View {
	a.tb.Helper()
	deadline := time.After(20 * time.Second)
	for {
		v := a.View()
		if ok(v) {
			return v
		}
		select {
		case <-a.changed:
		case <-time.After(20 * time.Millisecond): // what is published here changes the view silently
		case <-deadline:
			a.tb.Fatalf("not seen in 20 s: %s; the view is %+v", what, v)
		}
	}
}

func alive(names ...string) func(members.View) bool {
	return func(v members.View) bool { return slices.Equal(v.Alive(), names) }
}
