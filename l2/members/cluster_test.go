// SPDX-License-Identifier: Apache-2.0

package members_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/heraldlb/herald/l2/members"
)

// A cluster is agents on loopback addresses of their own, with real sockets,
// between which the test can cut the network.
type cluster struct {
	tb    testing.TB
	peers []netip.AddrPort
	wires *wires
}

// next makes the addresses of each cluster its own.
var next struct {
	sync.Mutex
	cluster int
}

func newCluster(tb testing.TB, size int) *cluster {
	next.Lock()
	defer next.Unlock()
	next.cluster++
	c := &cluster{tb: tb, wires: &wires{side: map[netip.Addr]int{}}}
	for i := range size {
		id := os.Getpid() + next.cluster<<4
		addr := netip.AddrFrom4([4]byte{127, byte(1 + id>>8&0x7f), byte(id), byte(i + 1)})
		c.peers = append(c.peers, netip.AddrPortFrom(addr, 7946))
	}
	return c
}

func (c *cluster) name(i int) string { return fmt.Sprintf("n%02d", i+1) }

func (c *cluster) addr(i int) netip.Addr { return c.peers[i].Addr() }

// others returns the addresses of all agents but one.
func (c *cluster) others(i int) []netip.AddrPort {
	return slices.Delete(slices.Clone(c.peers), i, i+1)
}

// options returns those of agent i.
func (c *cluster) options(i int) members.Options {
	return members.Options{
		Node:   c.name(i),
		Bind:   c.peers[i],
		Key:    members.Key("secret"),
		Logger: slog.New(slog.NewTextHandler(c.tb.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})).With("self", c.name(i)),
	}
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
	a.List = members.New(members.WithTransport(opts, c.wires.transport(c.tb, c.peers[i])))
	a.SetPeers(c.others(i))
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

// wires are the network of a cluster: it is whole, or parted into sides.
type wires struct {
	mu   sync.Mutex // guards the fields below
	side map[netip.Addr]int
}

// part moves addresses to a side of their own; side 0 is where all begin.
func (w *wires) part(side int, addrs ...netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range addrs {
		w.side[a] = side
	}
}

func (w *wires) parted(a netip.Addr, b string) bool {
	to := netip.MustParseAddrPort(b).Addr()
	w.mu.Lock()
	defer w.mu.Unlock()
	return cmp.Compare(w.side[a], w.side[to]) != 0
}

// A wire is one agent's end of the network.
type wire struct {
	*memberlist.NetTransport
	wires *wires
	addr  netip.Addr
}

func (w *wires) transport(tb testing.TB, bind netip.AddrPort) memberlist.Transport {
	tb.Helper()
	t, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{
		BindAddrs: []string{bind.Addr().String()},
		BindPort:  int(bind.Port()),
		Logger:    slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	})
	if err != nil {
		tb.Fatal(err)
	}
	return &wire{t, w, bind.Addr()}
}

// WriteToAddress loses packets to the other side.
func (w *wire) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	if w.wires.parted(w.addr, to.Addr) {
		return time.Now(), nil
	}
	return w.NetTransport.WriteToAddress(b, to)
}

// DialAddressTimeout gets no answer from the other side.
func (w *wire) DialAddressTimeout(to memberlist.Address, timeout time.Duration) (net.Conn, error) {
	if w.wires.parted(w.addr, to.Addr) {
		<-time.After(timeout)
		return nil, errors.New("i/o timeout")
	}
	// From the agent's own address, as on a node with one.
	d := net.Dialer{Timeout: timeout, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(w.addr, 0))}
	return d.Dial("tcp", to.Addr)
}
