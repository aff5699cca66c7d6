// SPDX-License-Identifier: Apache-2.0

package members_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/heraldlb/herald/l2/members"
)

// A cluster is agents on a network in memory that the test can cut. Tests run them in a
// bubble of synctest, so that a busy machine does not make an agent look dead.
type cluster struct {
	tb    testing.TB
	peers []netip.AddrPort
	wires *wires         // nil: sockets
	told  []members.Node // at the start of an agent; nil: all
}

// inBubble runs a test in a bubble, in which memberlist's last timers end too.
func inBubble(t *testing.T, f func(*testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) })
		f(t)
	})
}

func newCluster(tb testing.TB, size int) *cluster {
	c := &cluster{tb: tb, wires: &wires{side: map[netip.Addr]int{}, wires: map[netip.AddrPort]*wire{}, sent: map[netip.Addr]traffic{}, apart: map[[2]netip.Addr]bool{}}}
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
	opts = members.WithTransport(opts, c.wires.connect(c.peers[i]))
	return members.WithClock(opts, func() time.Duration { return time.Since(start) + time.Minute })
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

// wires are the network of a cluster, in memory: it is whole, or parted into sides.
type wires struct {
	mu    sync.Mutex // guards the fields below
	side  map[netip.Addr]int
	wires map[netip.AddrPort]*wire       // of agents that run
	loses func(from, to netip.Addr) bool // of packets; nil: none
	delay func() time.Duration           // of packets; nil: none
	sent  map[netip.Addr]traffic
	apart map[[2]netip.Addr]bool // each pair in both directions
}

// separate has two addresses reach each other no longer, or again.
func (w *wires) separate(apart bool, a, b netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.apart[[2]netip.Addr{a, b}], w.apart[[2]netip.Addr{b, a}] = apart, apart
}

// kill has nobody listen on an address any more: what its agent does has no effect.
func (w *wires) kill(a netip.AddrPort) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.wires, a)
}

// traffic counts packets.
type traffic struct{ packets, bytes int }

// lose has the network lose packets.
func (w *wires) lose(loses func(from, to netip.Addr) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loses = loses
}

// of returns what an agent has sent so far.
func (w *wires) of(a netip.Addr) traffic {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent[a]
}

// carry counts a packet, and returns how long it is under way, and whether it arrives.
func (w *wires) carry(from, to netip.Addr, size int) (after time.Duration, arrives bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.sent[from]
	w.sent[from] = traffic{t.packets + 1, t.bytes + size}
	if w.delay != nil {
		after = w.delay()
	}
	return after, w.loses == nil || !w.loses(from, to)
}

// part moves addresses to a side of their own; side 0 is where all begin.
func (w *wires) part(side int, addrs ...netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range addrs {
		w.side[a] = side
	}
}

// to returns the other end of the network, nil if nobody listens there, and whether the
// two are on one side.
func (w *wires) to(from netip.Addr, addr string) (*wire, bool) {
	to := netip.MustParseAddrPort(addr)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wires[to], w.side[from] == w.side[to.Addr()] && !w.apart[[2]netip.Addr{from, to.Addr()}]
}

// A wire is one agent's end of the network.
type wire struct {
	wires   *wires
	addr    netip.AddrPort
	packets chan *memberlist.Packet
	streams chan net.Conn
	closed  chan struct{}
}

// connect returns a new end of the network, which replaces an earlier one of that address.
func (w *wires) connect(addr netip.AddrPort) *wire {
	end := &wire{w, addr, make(chan *memberlist.Packet, 1024), make(chan net.Conn), make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wires[addr] = end
	return end
}

func (w *wire) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return w.addr.Addr().AsSlice(), int(w.addr.Port()), nil
}

func (w *wire) PacketCh() <-chan *memberlist.Packet { return w.packets }

func (w *wire) StreamCh() <-chan net.Conn { return w.streams }

func (w *wire) Shutdown() error {
	w.wires.mu.Lock()
	defer w.wires.mu.Unlock()
	if w.wires.wires[w.addr] == w {
		delete(w.wires.wires, w.addr)
	}
	close(w.closed)
	return nil
}

// WriteTo loses packets to the other side, to nobody, and to an agent that does not read.
func (w *wire) WriteTo(b []byte, addr string) (time.Time, error) {
	now := time.Now()
	if !w.listens() {
		return now, nil
	}
	to, reached := w.wires.to(w.addr.Addr(), addr)
	after, arrives := w.wires.carry(w.addr.Addr(), netip.MustParseAddrPort(addr).Addr(), len(b))
	if to == nil || !reached || !arrives {
		return now, nil
	}
	p := &memberlist.Packet{Buf: bytes.Clone(b), From: net.UDPAddrFromAddrPort(w.addr), Timestamp: now.Add(after)}
	if after > 0 {
		time.AfterFunc(after, func() { to.take(p) })
	} else {
		to.take(p)
	}
	return now, nil
}

// listens reports whether the agent was not killed.
func (w *wire) listens() bool {
	w.wires.mu.Lock()
	defer w.wires.mu.Unlock()
	return w.wires.wires[w.addr] == w
}

func (w *wire) take(p *memberlist.Packet) {
	select {
	case w.packets <- p:
	default:
	}
}

// DialTimeout gets no answer from the other side.
func (w *wire) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	to, reached := w.wires.to(w.addr.Addr(), addr)
	switch {
	case !reached:
		time.Sleep(timeout)
		return nil, os.ErrDeadlineExceeded
	case to == nil:
		return nil, syscall.ECONNREFUSED
	}
	here, there := net.Pipe()
	select {
	case to.streams <- stream{there, w.addr}:
		return stream{here, to.addr}, nil
	case <-to.closed:
	case <-time.After(timeout):
	}
	return nil, syscall.ECONNREFUSED
}

// A stream is one end of a connection.
type stream struct {
	net.Conn
	remote netip.AddrPort
}

func (s stream) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(s.remote) }
