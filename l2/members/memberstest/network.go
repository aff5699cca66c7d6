// SPDX-License-Identifier: Apache-2.0

// Package memberstest is a network in memory for gossip, which tests and simulations can
// cut.
package memberstest

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

// A Network connects agents. It is whole, or parted into sides. Its methods are safe for
// concurrent use.
type Network struct {
	mu    sync.Mutex // guards the fields below
	side  map[netip.Addr]int
	ends  map[netip.AddrPort]*End        // of agents that run
	loses func(from, to netip.Addr) bool // of packets; nil: none
	delay func() time.Duration           // of packets; nil: none
	sent  map[netip.Addr]Traffic
	apart map[[2]netip.Addr]bool // each pair in both directions
}

// New returns a Network without agents.
func New() *Network {
	return &Network{side: map[netip.Addr]int{}, ends: map[netip.AddrPort]*End{}, sent: map[netip.Addr]Traffic{}, apart: map[[2]netip.Addr]bool{}}
}

// Traffic counts packets, and what went over connections.
type Traffic struct {
	Packets, Bytes int // without headers

	Connections int // opened
	Streamed    int // bytes that it wrote to connections
}

// Separate has two addresses reach each other no longer, or again.
func (n *Network) Separate(apart bool, a, b netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.apart[[2]netip.Addr{a, b}], n.apart[[2]netip.Addr{b, a}] = apart, apart
}

// Kill has nobody listen on an address any more: what its agent does has no effect.
func (n *Network) Kill(a netip.AddrPort) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.ends, a)
}

// Lose has the network lose packets.
func (n *Network) Lose(loses func(from, to netip.Addr) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loses = loses
}

// Delay has packets be under way for a while.
func (n *Network) Delay(delay func() time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = delay
}

// Sent returns what an agent has sent so far.
func (n *Network) Sent(a netip.Addr) Traffic {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sent[a]
}

// Part moves addresses to a side of their own; side 0 is where all begin.
func (n *Network) Part(side int, addrs ...netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range addrs {
		n.side[a] = side
	}
}

// Connect returns a new end of the network, which replaces an earlier one of that address.
func (n *Network) Connect(addr netip.AddrPort) *End {
	end := &End{n, addr, make(chan *memberlist.Packet, 1024), make(chan net.Conn), make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ends[addr] = end
	return end
}

// carry counts a packet, and returns how long it is under way, and whether it arrives.
func (n *Network) carry(from, to netip.Addr, size int) (after time.Duration, arrives bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.sent[from]
	t.Packets, t.Bytes = t.Packets+1, t.Bytes+size
	n.sent[from] = t
	if n.delay != nil {
		after = n.delay()
	}
	return after, n.loses == nil || !n.loses(from, to)
}

// stream counts what goes over a connection.
func (n *Network) stream(from netip.Addr, size int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.sent[from]
	t.Streamed += size
	n.sent[from] = t
}

// to returns the other end of the network, nil if nobody listens there, and whether the
// two are on one side.
func (n *Network) to(from netip.Addr, addr string) (*End, bool) {
	to := netip.MustParseAddrPort(addr)
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ends[to], n.side[from] == n.side[to.Addr()] && !n.apart[[2]netip.Addr{from, to.Addr()}]
}

// An End is one agent's end of the network.
type End struct {
	network *Network
	addr    netip.AddrPort
	packets chan *memberlist.Packet
	streams chan net.Conn
	closed  chan struct{}
}

var _ memberlist.Transport = (*End)(nil)

// FinalAdvertiseAddr returns the address of the end.
func (e *End) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return e.addr.Addr().AsSlice(), int(e.addr.Port()), nil
}

// PacketCh has the packets that arrive.
func (e *End) PacketCh() <-chan *memberlist.Packet { return e.packets }

// StreamCh has the connections that others open.
func (e *End) StreamCh() <-chan net.Conn { return e.streams }

// Shutdown disconnects the agent.
func (e *End) Shutdown() error {
	e.network.mu.Lock()
	defer e.network.mu.Unlock()
	if e.network.ends[e.addr] == e {
		delete(e.network.ends, e.addr)
	}
	close(e.closed)
	return nil
}

// WriteTo loses packets to the other side, to nobody, and to an agent that does not read.
func (e *End) WriteTo(b []byte, addr string) (time.Time, error) {
	now := time.Now()
	if !e.listens() {
		return now, nil
	}
	to, reached := e.network.to(e.addr.Addr(), addr)
	after, arrives := e.network.carry(e.addr.Addr(), netip.MustParseAddrPort(addr).Addr(), len(b))
	if to == nil || !reached || !arrives {
		return now, nil
	}
	p := &memberlist.Packet{Buf: bytes.Clone(b), From: net.UDPAddrFromAddrPort(e.addr), Timestamp: now.Add(after)}
	if after > 0 {
		time.AfterFunc(after, func() { to.take(p) })
	} else {
		to.take(p)
	}
	return now, nil
}

// listens reports whether the agent was not killed.
func (e *End) listens() bool {
	e.network.mu.Lock()
	defer e.network.mu.Unlock()
	return e.network.ends[e.addr] == e
}

func (e *End) take(p *memberlist.Packet) {
	select {
	case e.packets <- p:
	default:
	}
}

// DialTimeout gets no answer from the other side.
func (e *End) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	to, reached := e.network.to(e.addr.Addr(), addr)
	switch {
	case !reached:
		time.Sleep(timeout)
		return nil, os.ErrDeadlineExceeded
	case to == nil:
		return nil, syscall.ECONNREFUSED
	}
	e.network.mu.Lock()
	t := e.network.sent[e.addr.Addr()]
	t.Connections++
	e.network.sent[e.addr.Addr()] = t
	e.network.mu.Unlock()
	here, there := net.Pipe()
	select {
	case to.streams <- stream{there, to, e.addr}:
		return stream{here, e, to.addr}, nil
	case <-to.closed:
	case <-time.After(timeout):
	}
	return nil, syscall.ECONNREFUSED
}

// A stream is one end of a connection.
type stream struct {
	net.Conn
	end    *End
	remote netip.AddrPort
}

func (s stream) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(s.remote) }

// Write counts what is written.
func (s stream) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	s.end.network.stream(s.end.addr.Addr(), n)
	return n, err
}
