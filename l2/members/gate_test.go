// SPDX-License-Identifier: Apache-2.0

package members_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/heraldlb/herald/l2/members"
)

// networks runs a test on the network in memory and on the machine's.
func networks(t *testing.T, size int, f func(*testing.T, *cluster)) {
	t.Run("in memory", func(t *testing.T) {
		inBubble(t, func(t *testing.T) { f(t, newCluster(t, size)) })
	})
	t.Run("sockets", func(t *testing.T) { f(t, newRealCluster(t, size)) })
}

// only returns the nodes of some agents.
func (c *cluster) only(agents ...int) (out []members.Node) {
	for _, i := range agents {
		out = append(out, c.nodes()[i])
	}
	return out
}

// An agent on an address that is no Node's does not get in, whatever key it has, and is
// let in as soon as its Node is known. A Node that is removed stays for a while.
func TestOnlyNodesAreHeard(t *testing.T) {
	networks(t, 3, func(t *testing.T, c *cluster) {
		c.told = c.only(0, 1)
		a := []*agent{c.start(0), c.start(1)}
		for _, s := range a {
			s.await("two agents", alive("n01", "n02"))
		}
		c.told = nil
		third := c.start(2)
		for _, s := range a {
			s.await("the connection refused", func(members.View) bool { return s.Refused().Streams > 0 })
			if v := s.View(); len(v.Members) != 2 {
				t.Errorf("an agent without a Node got in: %v", v.Alive())
			}
		}
		if v := third.View(); len(v.Members) != 1 {
			t.Errorf("the agent without a Node sees %v", v.Alive())
		}
		a[0].SetNodes(c.nodes())
		a[1].SetNodes(c.nodes())
		for _, s := range append(a, third) {
			s.await("three agents", alive("n01", "n02", "n03"))
		}
		for _, s := range a {
			s.SetNodes(c.only(0, 1))
		}
		time.Sleep(2 * time.Second)
		if v := a[0].View(); len(v.Members) != 3 {
			t.Errorf("the Node is removed for 2 s: %v", v.Alive())
		}
		if c.wires == nil {
			return // the rest takes a minute
		}
		time.Sleep(time.Minute)
		a[0].await("the Node gone for a minute", alive("n01", "n02"))
	})
}

// Agents that start before any of them knows the Nodes find each other when they do, in
// any order.
func TestNodesAreKnownLate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 3)
		var a []*agent
		for i := range 3 {
			c.told = c.only(i)
			a = append(a, c.start(i))
		}
		for i, s := range a {
			time.Sleep(3 * time.Second)
			s.SetNodes(c.nodes())
			if i == 0 {
				time.Sleep(3 * time.Second)
				if v := s.View(); len(v.Members) != 1 {
					t.Errorf("others do not know it, but it sees %v", v.Alive())
				}
			}
		}
		for _, s := range a {
			s.await("all", alive("n01", "n02", "n03"))
		}
	})
}

// What is refused is logged once a minute while it lasts. A node that is new for a moment is
// not logged.
func TestRefusalsAreLogged(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var out logged
		c := newCluster(t, 2)
		c.told = c.only(0)
		first := c.start(0, func(o *members.Options) { o.Logger = out.logger() })
		c.told = nil
		c.start(1)
		time.Sleep(3 * time.Second)
		first.SetNodes(c.nodes())
		first.await("both", alive("n01", "n02"))
		time.Sleep(time.Minute)
		const line = "gossip refused"
		if first.Refused().Streams == 0 || out.count(line) > 0 {
			t.Errorf("after %+v of a new node there are %d warnings", first.Refused(), out.count(line))
		}
		wire := c.wires.Connect(netip.AddrPortFrom(c.addr(1).Next(), 7946))
		defer wire.Shutdown()
		for range 300 {
			wire.WriteTo([]byte{1}, c.peers[0].String())
			time.Sleep(time.Second)
		}
		if n := out.count(line); n < 4 || n > 6 {
			t.Errorf("%d warnings in 5 minutes, want one a minute", n)
		}
	})
}

// A stranger's connections that claim 19 MB and its packets leave nothing behind, and
// nobody is declared dead.
func TestFloodOfStrangers(t *testing.T) {
	c := newRealCluster(t, 2)
	a := c.startAll()
	strange := c.addr(1).Next()
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(strange, 0)), Timeout: 10 * time.Second}
	const connections = 60
	junk := claim(19 << 20)
	for range connections {
		conn, err := dialer.Dial("tcp", c.peers[0].String())
		if errors.Is(err, syscall.ECONNRESET) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		conn.Write(junk) // it may be closed by now
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("the agent answers")
		} else if e := net.Error(nil); errors.As(err, &e) && e.Timeout() {
			t.Fatal("the connection is open")
		}
	}
	udp, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(strange, 0)), net.UDPAddrFromAddrPort(c.peers[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	const packets = 5000
	for range packets {
		udp.Write(junk[:200])
	}
	a[0].await("all refused", func(members.View) bool {
		r := a[0].Refused()
		return r.Streams >= connections && r.Packets >= packets
	})
}

// claim returns the beginning of an encrypted stream of that length.
func claim(length uint32) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{10}, length), make([]byte, 1000)...)
}

// From a Node's address, few connections are taken at a time, and none for longer than an
// exchange of states takes.
func TestFewConnectionsOfANode(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 2)
		first := c.start(0)
		wire := c.wires.Connect(c.peers[1])
		defer wire.Shutdown()
		var open []net.Conn
		for range 40 {
			conn, err := wire.DialTimeout(c.peers[0].String(), time.Second)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			open = append(open, conn)
		}
		first.await("most refused", func(members.View) bool { return first.Refused().Streams == 36 })
		n := 0
		for _, conn := range open {
			conn.SetDeadline(time.Now().Add(10 * time.Millisecond))
			if _, err := conn.Write(claim(19 << 20)); err == nil {
				n++
			}
		}
		if n != 4 {
			t.Errorf("%d connections are read, want 4", n)
		}
		time.Sleep(3 * time.Second) // longer than memberlist waits for the rest
		if conn, err := wire.DialTimeout(c.peers[0].String(), time.Second); err != nil {
			t.Error(err)
		} else {
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(10 * time.Millisecond))
			if _, err := conn.Write([]byte{10}); err != nil {
				t.Errorf("after the first ones a connection is not read: %v", err)
			}
		}
	})
}

// A Node's connection that claims a long stream, and sends it, ends at the bound.
func TestLongStreamEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCluster(t, 2)
		c.start(0)
		wire := c.wires.Connect(c.peers[1])
		defer wire.Shutdown()
		conn, err := wire.DialTimeout(c.peers[0].String(), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		go io.Copy(io.Discard, conn) // what it answers
		sent, err := conn.Write(claim(19 << 20))
		for part := make([]byte, 1<<16); err == nil && sent < 19<<20; {
			var n int
			n, err = conn.Write(part)
			sent += n
		}
		if sent > members.StreamSize {
			t.Errorf("%d bytes were read, want at most %d", sent, members.StreamSize)
		}
	})
}

// What agents exchange with 1,000 nodes that announce 10,000 IPv6 addresses, each on two
// nodes, fits into half of what a connection may carry.
func TestStateFits(t *testing.T) {
	state := members.LargeState(1000, 10000)
	// Besides, memberlist sends of each node its name, address, version and epoch.
	all := len(state) + 1000*(150+len("node-0001.rack-17.region.example.internal"))
	t.Logf("%d bytes", all)
	if all > members.StreamSize/2 {
		t.Errorf("the state has %d bytes, above half of %d", all, members.StreamSize)
	}
}

// BenchmarkFlood sends packets of a stranger to an agent. Its metric is the processor time
// of both in a packet.
func BenchmarkFlood(b *testing.B) {
	for _, known := range []bool{false, true} {
		name := map[bool]string{false: "stranger", true: "node without the key"}[known]
		b.Run(name, func(b *testing.B) {
			c := newRealCluster(b, 3)
			if !known {
				c.told = c.only(0, 1)
			}
			c.start(0)
			from := net.UDPAddrFromAddrPort(netip.AddrPortFrom(c.addr(2), 0))
			udp, err := net.DialUDP("udp", from, net.UDPAddrFromAddrPort(c.peers[0]))
			if err != nil {
				b.Fatal(err)
			}
			defer udp.Close()
			junk := slices.Repeat([]byte{1}, 200)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for b.Loop() {
				udp.Write(junk)
			}
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(b.N), "B/packet")
		})
	}
}
