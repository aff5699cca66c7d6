// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/heraldlb/herald/lab/controlplane"
)

// echo is a server that says what it hears.
func echo(t *testing.T) netip.AddrPort {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// A caller is a connection through a gate.
type caller struct {
	t *testing.T
	net.Conn
}

func call(t *testing.T, g *controlplane.Gate) caller {
	t.Helper()
	c, err := net.Dial("tcp", g.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return caller{t, c}
}

// hears says a word and waits for the answer for a while.
func (c caller) hears(wait time.Duration) error {
	c.t.Helper()
	if _, err := c.Write([]byte("word")); err != nil {
		return err
	}
	return c.answered(wait)
}

func (c caller) answered(wait time.Duration) error {
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		c.t.Fatal(err)
	}
	_, err := io.ReadFull(c, make([]byte, 4))
	return err
}

// A gate passes on answers at once, late, or not at all, and opens again at its address.
func TestGate(t *testing.T) {
	const long, short = 30 * time.Second, 100 * time.Millisecond
	g, err := controlplane.OpenGate(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Shut)
	c := call(t, g)
	if err := c.hears(long); err != nil {
		t.Fatalf("an open gate: %v", err)
	}

	g.Delay(300 * time.Millisecond)
	start := time.Now()
	if err := c.hears(long); err != nil || time.Since(start) < 300*time.Millisecond {
		t.Errorf("a slow gate: %v after %v", err, time.Since(start))
	}
	g.Delay(0)

	resume := g.Stall()
	if err := c.hears(short); err == nil {
		t.Error("a stalled connection is answered")
	}
	if err := call(t, g).hears(long); err != nil {
		t.Errorf("a new connection during a stall: %v", err)
	}
	resume()
	if err := c.answered(long); err != nil {
		t.Errorf("after a stall: %v", err)
	}

	addr := g.Addr()
	g.Shut()
	if err := c.hears(long); err == nil {
		t.Error("a connection outlives its gate")
	}
	if c, err := net.Dial("tcp", addr.String()); err == nil {
		_ = c.Close()
		t.Error("a gate that is shut takes connections")
	}
	if err := g.Open(); err != nil {
		t.Fatal(err)
	}
	if err := call(t, g).hears(long); err != nil || g.Addr() != addr {
		t.Errorf("a gate that is open again, at %s, before %s: %v", g.Addr(), addr, err)
	}
}
