// SPDX-License-Identifier: Apache-2.0

package members

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// streamSize bounds what one connection may carry in each direction, in bytes. An
	// exchange of states needs about half of it with 1,000 nodes that announce 10,000
	// IPv6 addresses, each on two nodes.
	streamSize = 2 << 20
	// streamsEach and streamsAll bound the connections that are open at a time, from one
	// address and in all. An agent opens at most atOnce connections for each of its
	// tasks, to different nodes. One that is refused tries again.
	streamsEach = 4
	streamsAll  = 32
	// refusedEvery separates two warnings about refused packets and connections. They are
	// counted every refusedLook: a new node's are refused until its Node is known, and only
	// what was found lasting times in a row is worth a warning.
	refusedEvery = time.Minute
	refusedLook  = 5 * time.Second
	lasting      = 3
)

var errStreamSize = errors.New("more data than gossip needs")

// Refused counts what was refused before anything of it was read.
type Refused struct {
	Packets uint64 // not from a Node's address; the kernel's other losses at the socket count too
	Streams uint64 // connections that are not from a Node's address, or too many
}

// A gate decides from which addresses packets and connections are taken: those of the
// cluster's nodes. Its methods are safe for concurrent use. Nothing is taken before the
// first set.
type gate struct {
	addrs            atomic.Pointer[map[netip.Addr]bool]
	packets, streams atomic.Uint64

	mu       sync.Mutex // guards the fields below
	open     map[netip.Addr]int
	all      int                // sum of open
	last     netip.Addr         // whose connection was refused last
	follow   func([]netip.Addr) // called with each new set; nil: nobody follows
	lost     func() uint64      // packets that the kernel refused; nil: none
	looked   time.Time          // by warn
	seen     Refused            // then
	streak   int                // looks in a row that found more
	warned   time.Time
	reported Refused // by then
}

func newGate() *gate {
	g := &gate{open: map[netip.Addr]int{}}
	g.addrs.Store(&map[netip.Addr]bool{})
	return g
}

// set replaces the addresses.
func (g *gate) set(addrs map[netip.Addr]bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if maps.Equal(addrs, *g.addrs.Load()) {
		return
	}
	g.addrs.Store(&addrs)
	if g.follow != nil {
		g.follow(slices.SortedFunc(maps.Keys(addrs), netip.Addr.Compare))
	}
}

// install has f called with the addresses, now and when they change, and lost when
// refused packets are counted.
func (g *gate) install(f func([]netip.Addr), lost func() uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.follow, g.lost = f, lost
	f(slices.SortedFunc(maps.Keys(*g.addrs.Load()), netip.Addr.Compare))
}

// admits reports whether an address is a node's.
func (g *gate) admits(a netip.Addr) bool { return (*g.addrs.Load())[a] }

// refused returns what was refused so far.
func (g *gate) refused() Refused {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count()
}

// count does the same. The caller holds the mutex.
func (g *gate) count() Refused {
	r := Refused{Packets: g.packets.Load(), Streams: g.streams.Load()}
	if g.lost != nil {
		r.Packets += g.lost()
	}
	return r
}

// warn logs what was refused since the last warning, from time to time.
func (g *gate) warn(now time.Time, log *slog.Logger) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.looked) < refusedLook {
		return
	}
	r, was := g.count(), g.reported
	if r == g.seen {
		g.streak = 0
	} else {
		g.streak++
	}
	g.looked, g.seen = now, r
	if g.streak < lasting || now.Sub(g.warned) < refusedEvery {
		return
	}
	g.warned, g.reported = now, r
	log.Warn("gossip refused: not from the address of a Node, or too many connections",
		"packets", r.Packets-was.Packets, "connections", r.Streams-was.Streams, "last", g.last)
}

// enter admits a connection, or counts it as refused.
func (g *gate) enter(from netip.Addr) bool {
	known := g.admits(from)
	g.mu.Lock()
	defer g.mu.Unlock()
	if !known || g.open[from] >= streamsEach || g.all >= streamsAll {
		g.streams.Add(1)
		g.last = from
		return false
	}
	g.open[from]++
	g.all++
	return true
}

// leave ends a connection that was admitted.
func (g *gate) leave(from netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	if g.open[from]--; g.open[from] == 0 {
		delete(g.open, from)
	}
}

// A guard is a network behind a gate: memberlist believes what a message says about its
// length, and collects so much before it decrypts it.
type guard struct {
	memberlist.Transport
	gate    *gate
	packets chan *memberlist.Packet
	streams chan net.Conn
	closed  chan struct{}
	tasks   sync.WaitGroup
}

// newGuard returns a guard, which Shutdown ends.
func newGuard(inner memberlist.Transport, g *gate) *guard {
	w := &guard{
		Transport: inner, gate: g,
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), closed: make(chan struct{}),
	}
	w.tasks.Go(w.passPackets)
	w.tasks.Go(w.passStreams)
	return w
}

func (w *guard) PacketCh() <-chan *memberlist.Packet { return w.packets }

func (w *guard) StreamCh() <-chan net.Conn { return w.streams }

func (w *guard) Shutdown() error {
	close(w.closed)
	err := w.Transport.Shutdown()
	w.tasks.Wait()
	return err
}

// DialTimeout opens a connection to a node. What the node answers is bounded.
func (w *guard) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	if to, err := netip.ParseAddrPort(addr); err != nil || !w.gate.admits(to.Addr().Unmap()) {
		return nil, fmt.Errorf("%s is not the address of a Node", addr)
	}
	c, err := w.Transport.DialTimeout(addr, timeout)
	if err != nil {
		return nil, err
	}
	return &bounded{Conn: c, left: streamSize, end: func() {}}, nil
}

func (w *guard) passPackets() {
	for {
		select {
		case <-w.closed:
			return
		case p := <-w.Transport.PacketCh():
			if !w.gate.admits(sender(p.From)) {
				w.gate.packets.Add(1)
				continue
			}
			select {
			case <-w.closed:
				return
			case w.packets <- p:
			}
		}
	}
}

func (w *guard) passStreams() {
	for {
		select {
		case <-w.closed:
			return
		case c := <-w.Transport.StreamCh():
			from := sender(c.RemoteAddr())
			if !w.gate.enter(from) {
				reset(c)
				continue
			}
			b := &bounded{Conn: c, left: streamSize, end: sync.OnceFunc(func() { w.gate.leave(from) })}
			select {
			case <-w.closed:
				b.Close()
				return
			case w.streams <- b:
			}
		}
	}
}

// reset closes a connection without waiting for its other end.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it is closed anyway
	}
	_ = c.Close()
}

// sender returns the address of a packet or connection.
func sender(a net.Addr) netip.Addr {
	if a, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		return a.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// A bounded connection ends after so many bytes.
type bounded struct {
	net.Conn
	left int
	end  func()
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errStreamSize
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func (b *bounded) Close() error {
	defer b.end()
	return b.Conn.Close()
}
