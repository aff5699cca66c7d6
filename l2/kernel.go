// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// Kernel is the network of the calling thread's namespace.
type Kernel struct{}

// receiveBuffer is the requested size, with room for a burst of requests. The kernel
// grants as much as net.core.rmem_max allows.
const receiveBuffer = 4 << 20

// Open returns a port on a packet socket. It needs CAP_NET_RAW.
func (Kernel) Open(link Link, protocol Protocol) (Port, error) {
	filter, err := assemble(protocol)
	if err != nil {
		return nil, err
	}
	kind := etherARP
	if protocol == NDP {
		kind = etherIPv6
	}
	ifi := &net.Interface{Index: link.Index, Name: link.Name, HardwareAddr: link.MAC[:]}
	conn, err := packet.Listen(ifi, packet.Raw, kind, &packet.Config{Filter: filter})
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("use packet socket: %w", err), conn.Close())
	}
	err = raw.Control(func(fd uintptr) {
		// A smaller buffer works too.
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("use packet socket: %w", err), conn.Close())
	}
	return &packetPort{conn: conn, raw: raw, groups: groups{link: link.Index}}, nil
}

// A packetPort is a packet socket with its group memberships.
type packetPort struct {
	conn *packet.Conn
	raw  syscall.RawConn
	groups
}

// Read bypasses packet.Conn, which allocates an address for every frame.
func (p *packetPort) Read(b []byte) (n int, err error) {
	waited := p.raw.Read(func(fd uintptr) bool {
		n, err = transfer(unix.SYS_READ, fd, b)
		return !errors.Is(err, unix.EAGAIN)
	})
	if err = errors.Join(waited, err); err != nil {
		return 0, fmt.Errorf("read frame: %w", err)
	}
	return n, nil
}

func (p *packetPort) Write(frame []byte) (n int, err error) {
	waited := p.raw.Write(func(fd uintptr) bool {
		n, err = transfer(unix.SYS_WRITE, fd, frame)
		return !errors.Is(err, unix.EAGAIN)
	})
	if err = errors.Join(waited, err); err != nil {
		return 0, fmt.Errorf("write frame: %w", err)
	}
	return n, nil
}

// transfer reads or writes one frame on a non-blocking socket. It does not notify Go's
// scheduler, as unix.Read and unix.Write do in case they block: that would be a third of
// the cost of an answer.
func transfer(call, fd uintptr, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, unix.EINVAL
	}
	for {
		n, _, errno := unix.RawSyscall(call, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// Close ends Read, and leaves all groups.
func (p *packetPort) Close() error {
	return errors.Join(p.conn.Close(), p.groups.close())
}

// groupsPerSocket keeps the memberships of one socket below the limit of the smallest
// net.core.optmem_max in use.
const groupsPerSocket = 128

// groups are the IPv6 groups that were joined on a link.
type groups struct {
	link    int
	sockets []*groupSocket
	members map[netip.Addr]*membership
}

// A groupSocket only holds memberships. It is never read, and nothing is queued for it
// because it has no port.
type groupSocket struct {
	fd   int
	used int
}

type membership struct {
	socket *groupSocket
	times  int
}

// Join joins a group, with an MLD report, unless it was joined already.
func (g *groups) Join(group netip.Addr) error {
	if m := g.members[group]; m != nil {
		m.times++
		return nil
	}
	s, err := g.room()
	if err != nil {
		return err
	}
	if err := unix.SetsockoptIPv6Mreq(s.fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, g.request(group)); err != nil {
		return fmt.Errorf("join %s: %w", group, err)
	}
	s.used++
	if g.members == nil {
		g.members = map[netip.Addr]*membership{}
	}
	g.members[group] = &membership{socket: s, times: 1}
	return nil
}

// Leave leaves a group once it was left as often as it was joined.
func (g *groups) Leave(group netip.Addr) error {
	m := g.members[group]
	if m == nil {
		return fmt.Errorf("leave %s: not joined", group)
	}
	if m.times--; m.times > 0 {
		return nil
	}
	delete(g.members, group)
	m.socket.used--
	if err := unix.SetsockoptIPv6Mreq(m.socket.fd, unix.IPPROTO_IPV6, unix.IPV6_LEAVE_GROUP, g.request(group)); err != nil {
		return fmt.Errorf("leave %s: %w", group, err)
	}
	return nil
}

func (g *groups) request(group netip.Addr) *unix.IPv6Mreq {
	return &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(g.link)}
}

// room returns a socket that can take one more membership.
func (g *groups) room() (*groupSocket, error) {
	for _, s := range g.sockets {
		if s.used < groupsPerSocket {
			return s, nil
		}
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open socket for groups: %w", err)
	}
	s := &groupSocket{fd: fd}
	g.sockets = append(g.sockets, s)
	return s, nil
}

// close leaves all groups.
func (g *groups) close() error {
	var errs []error
	for _, s := range g.sockets {
		errs = append(errs, unix.Close(s.fd))
	}
	g.sockets, g.members = nil, nil
	return errors.Join(errs...)
}
