// SPDX-License-Identifier: Apache-2.0

package members

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	// receiveBuffer is the size of the UDP socket's buffer, in bytes.
	receiveBuffer = 2 << 20
	// largestPacket is the longest packet of UDP.
	largestPacket = 1 << 16
	// acceptPause is the time before another attempt to accept, after one has failed.
	acceptPause = 100 * time.Millisecond
)

// sockets are the network of an agent: one UDP socket and one TCP listener. The kernel
// drops packets from other addresses than nodes' before it wakes the agent.
type sockets struct {
	bind    netip.AddrPort
	gate    *gate
	log     *slog.Logger
	udp     *net.UDPConn
	tcp     *net.TCPListener
	packets chan *memberlist.Packet
	streams chan net.Conn
	closed  chan struct{}
	tasks   sync.WaitGroup
	dropped atomic.Uint64 // last known number of packets that the kernel dropped
}

// listen opens the sockets. Shutdown closes them.
func listen(ctx context.Context, bind netip.AddrPort, g *gate, log *slog.Logger) (*sockets, error) {
	s := &sockets{
		bind: bind, gate: g, log: log,
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), closed: make(chan struct{}),
	}
	tcp, err := new(net.ListenConfig).Listen(ctx, "tcp", bind.String())
	if err != nil {
		return nil, err
	}
	s.tcp = tcp.(*net.TCPListener)
	// Nothing gets in before the nodes are known, not even into the buffer.
	closed := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		_ = attach(c, senders(nil, bind.Addr().Is4())) // follow reports an error
		return nil
	}}
	udp, err := closed.ListenPacket(ctx, "udp", bind.String())
	if err != nil {
		_ = s.tcp.Close() // the first error counts
		return nil, err
	}
	s.udp = udp.(*net.UDPConn)
	_ = s.udp.SetReadBuffer(receiveBuffer) // the kernel grants what its limit allows
	g.install(s.follow, s.lost)
	s.tasks.Go(s.receive)
	s.tasks.Go(s.accept)
	return s, nil
}

func (s *sockets) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return s.bind.Addr().AsSlice(), int(s.bind.Port()), nil
}

func (s *sockets) PacketCh() <-chan *memberlist.Packet { return s.packets }

func (s *sockets) StreamCh() <-chan net.Conn { return s.streams }

func (s *sockets) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, err
	}
	_, err = s.udp.WriteToUDPAddrPort(b, to)
	return time.Now(), err
}

// DialTimeout connects from the address to which the agent is bound if that is the
// node's: the route may prefer another one, which the other end does not know as a node's.
func (s *sockets) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: timeout}
	if s.gate.admits(s.bind.Addr()) {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.bind.Addr(), 0))
	}
	return d.Dial("tcp", addr)
}

func (s *sockets) Shutdown() error {
	close(s.closed)
	err := errors.Join(s.tcp.Close(), s.udp.Close())
	s.tasks.Wait()
	return err
}

// receive reads packets.
func (s *sockets) receive() {
	buf := make([]byte, largestPacket)
	for {
		n, from, err := s.udp.ReadFromUDPAddrPort(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil || n == 0: // an ICMP error, for instance
			continue
		}
		select {
		case <-s.closed:
			return
		case s.packets <- &memberlist.Packet{Buf: bytes.Clone(buf[:n]), From: net.UDPAddrFromAddrPort(from), Timestamp: time.Now()}:
		}
	}
}

// accept accepts connections.
func (s *sockets) accept() {
	for {
		c, err := s.tcp.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // there are no more descriptors, for instance
			s.log.Debug("connection not accepted", "err", err)
			select {
			case <-s.closed:
				return
			case <-time.After(acceptPause):
			}
			continue
		}
		select {
		case <-s.closed:
			_ = c.Close()
			return
		case s.streams <- c:
		}
	}
}

// follow has the kernel pass the packets from these addresses alone. Without that, the
// agent drops them itself.
func (s *sockets) follow(addrs []netip.Addr) {
	raw, err := s.udp.SyscallConn()
	if err == nil {
		err = attach(raw, senders(addrs, s.bind.Addr().Is4()))
	}
	if err != nil {
		s.log.Warn("the kernel does not filter gossip: the agent does", "err", err)
	}
}

// lost returns how many packets the kernel has dropped at the socket.
func (s *sockets) lost() uint64 {
	raw, err := s.udp.SyscallConn()
	if err != nil {
		return s.dropped.Load()
	}
	var n uint32
	_ = raw.Control(func(fd uintptr) { // an error means that the socket is closed
		if n, err = drops(int(fd)); err == nil {
			s.dropped.Store(uint64(n))
		}
	})
	return s.dropped.Load()
}

// Offsets of the source address in the headers of IP.
const (
	source4 = 12
	source6 = 8
)

// networkHeader is the offset of the network header for a filter of a socket, whose
// packets begin with the header of UDP: SKF_NET_OFF.
const networkHeader = 0xfff0_0000

// senders returns a filter that passes the packets from these addresses. IPv6 addresses
// are compared by the sum of their parts without carry, which a sender can choose: the
// agent compares the whole.
func senders(addrs []netip.Addr, is4 bool) []bpf.Instruction {
	prog := []bpf.Instruction{bpf.LoadAbsolute{Off: networkHeader + source4, Size: 4}}
	if !is4 {
		prog = []bpf.Instruction{bpf.LoadAbsolute{Off: networkHeader + source6, Size: 4}}
		for i := uint32(4); i < 16; i += 4 {
			prog = append(prog, bpf.TAX{}, bpf.LoadAbsolute{Off: networkHeader + source6 + i, Size: 4}, bpf.ALUOpX{Op: bpf.ALUOpXor})
		}
	}
	var values []uint32
	for _, a := range addrs {
		if a.Is4() == is4 {
			values = append(values, folded(a))
		}
	}
	// A jump reaches 255 instructions: each group has its own verdict.
	const group = 200
	for len(values) > 0 {
		n := min(group, len(values))
		for i, v := range values[:n] {
			prog = append(prog, bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipTrue: uint8(n - i)})
		}
		// Past the comparisons: to the next group, over the verdict.
		prog = append(prog, bpf.Jump{Skip: 1}, bpf.RetConstant{Val: largestPacket})
		values = values[n:]
	}
	return append(prog, bpf.RetConstant{Val: 0})
}

// folded returns the parts of 4 bytes of an address, combined as the filter does.
func folded(a netip.Addr) (v uint32) {
	b := a.AsSlice()
	for ; len(b) > 0; b = b[4:] {
		v ^= uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	}
	return v
}

// attach replaces the filter of a socket.
func attach(c syscall.RawConn, prog []bpf.Instruction) error {
	raw, err := bpf.Assemble(prog)
	if err != nil {
		return fmt.Errorf("assemble filter: %w", err)
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	var failed error
	err = c.Control(func(fd uintptr) {
		p := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &p)
		if failed == nil {
			return
		}
		// The kernel's limit for options may have no room for two filters, or one.
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0); err != nil {
			return
		}
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &p)
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("attach filter: %w", err)
	}
	return nil
}
