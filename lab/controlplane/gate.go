// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// A Gate stands between pods and the API server. It passes on what both say: at once,
// late, or not at all. It knows nothing of TLS or HTTP.
type Gate struct {
	server netip.AddrPort
	addr   netip.AddrPort

	mu     sync.Mutex // guards the fields below
	delay  time.Duration
	conns  map[*passage]bool
	listen net.Listener // nil: shut
}

// A passage is one connection through a Gate.
type passage struct {
	near, far net.Conn
	stall     chan struct{} // closed when it goes on; nil: it is not held up
}

// OpenGate opens a Gate to the API server, at another port of its address.
func OpenGate(server netip.AddrPort) (*Gate, error) {
	g := &Gate{server: server, addr: netip.AddrPortFrom(server.Addr(), 0), conns: map[*passage]bool{}}
	if err := g.Open(); err != nil {
		return nil, err
	}
	g.addr = g.listen.Addr().(*net.TCPAddr).AddrPort()
	return g, nil
}

// Addr is where the Gate listens.
func (g *Gate) Addr() netip.AddrPort { return g.addr }

// Open lets connections in, after Shut. A gate that is open stays so.
func (g *Gate) Open() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listen != nil {
		return nil
	}
	l, err := net.Listen("tcp", g.addr.String())
	if err != nil {
		return fmt.Errorf("open the gate of the API server: %w", err)
	}
	g.listen = l
	go g.accept(l)
	return nil
}

// Shut ends all connections, and refuses others.
func (g *Gate) Shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listen != nil {
		_ = g.listen.Close()
		g.listen = nil
	}
	for p := range g.conns {
		p.close()
	}
}

// Delay has every answer come so much later. It does not slow down the stream.
func (g *Gate) Delay(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.delay = d
}

// Stall holds up what the API server says over the connections that are open now, and
// returns what lets it through. The connections stay open, and new ones are not stalled.
func (g *Gate) Stall() (resume func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	stall := make(chan struct{})
	for p := range g.conns {
		p.stall = stall
	}
	return sync.OnceFunc(func() { close(stall) })
}

func (g *Gate) accept(l net.Listener) {
	for {
		near, err := l.Accept()
		if err != nil {
			return // it was shut
		}
		go g.pass(near)
	}
}

// pass connects one client with the API server until either ends.
func (g *Gate) pass(near net.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	far, err := new(net.Dialer).DialContext(ctx, "tcp", g.server.String())
	if err != nil {
		_ = near.Close()
		return
	}
	p := &passage{near: near, far: far}
	g.mu.Lock()
	g.conns[p] = true
	if g.listen == nil {
		p.close()
	}
	g.mu.Unlock()
	go func() {
		_, _ = io.Copy(far, near) // the end of either is the end of both
		p.close()
	}()
	g.answers(p)
	p.close()
	g.mu.Lock()
	delete(g.conns, p)
	g.mu.Unlock()
}

func (p *passage) close() {
	_ = p.near.Close()
	_ = p.far.Close()
}

// An answer is a part of what the API server said, and when it may be passed on.
type answer struct {
	bytes []byte
	due   time.Time
}

// answers passes on what the API server says, each part in its time.
func (g *Gate) answers(p *passage) {
	late := make(chan answer, 1024)
	go func() {
		defer close(late)
		for {
			buf := make([]byte, 16<<10)
			n, err := p.far.Read(buf)
			if n > 0 {
				g.mu.Lock()
				delay := g.delay
				g.mu.Unlock()
				late <- answer{buf[:n], time.Now().Add(delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for a := range late {
		time.Sleep(time.Until(a.due))
		g.mu.Lock()
		stall := p.stall
		g.mu.Unlock()
		if stall != nil {
			<-stall
		}
		if _, err := p.near.Write(a.bytes); err != nil {
			p.close() // ends the reader; what it still has goes nowhere
		}
	}
}
