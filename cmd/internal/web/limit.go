// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// maxConns bounds the connections to one port. Prometheus, the kubelet and the API
// server need a handful.
const maxConns = 64

// bufferSize bounds what the kernel buffers for each direction of a connection. It
// doubles the value for its own needs.
const bufferSize = 64 << 10

// unreadTimeout is how long the kernel waits for a client to take more of what it was
// sent, also after the connection was closed here.
const unreadTimeout = writeTimeout

// A limiter is a listener with a bound on its open connections. A new connection is
// always accepted. When there are too many, the oldest one of the address with the most
// is closed. Hence one client with many connections closes its own, and a probe, which
// takes a millisecond, is served under any number of slow readers.
type limiter struct {
	net.Listener
	most int

	mu   sync.Mutex // guards open
	open []*limited // in the order they were accepted
}

// Accept waits for a connection.
func (l *limiter) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if t, ok := c.(*net.TCPConn); ok {
		frugal(t)
	}
	accepted := &limited{Conn: c, source: source(c.RemoteAddr()), of: l}
	l.mu.Lock()
	l.open = append(l.open, accepted)
	var surplus *limited
	if len(l.open) > l.most {
		surplus = l.surplus()
	}
	l.mu.Unlock()
	if surplus != nil {
		surplus.reset()
	}
	return accepted, nil
}

// frugal bounds what the kernel keeps for a connection, and for how long after it was
// closed. Errors are of connections that are gone.
func frugal(c *net.TCPConn) {
	c.SetReadBuffer(bufferSize)
	c.SetWriteBuffer(bufferSize)
	if raw, err := c.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unreadTimeout.Milliseconds()))
		})
	}
}

// surplus returns the connection that makes room: the oldest of the busiest source.
func (l *limiter) surplus() *limited {
	count := map[netip.Prefix]int{}
	for _, c := range l.open {
		count[c.source]++
	}
	oldest := l.open[0]
	for _, c := range l.open[1:] {
		if count[c.source] > count[oldest.source] {
			oldest = c
		}
	}
	return oldest
}

// A limited connection counts until it is closed.
type limited struct {
	net.Conn
	source netip.Prefix
	of     *limiter
}

// reset closes the connection, and drops what its client has not read.
func (c *limited) reset() {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	c.Close()
}

// Close closes the connection.
func (c *limited) Close() error {
	c.of.mu.Lock()
	if i := slices.Index(c.of.open, c); i >= 0 {
		c.of.open = slices.Delete(c.of.open, i, i+1)
	}
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// source returns whom a connection counts for: an IPv4 address, or the network of an
// IPv6 address, since a host has all addresses of it.
func source(a net.Addr) netip.Prefix {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
