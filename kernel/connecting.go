// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// A Connection is a TCP connection that this node opens, before the first answer.
type Connection struct {
	Remote    netip.AddrPort
	Interface int // index of the interface or VRF that it is bound to; 0: none
	Resent    int // how often its SYN was sent again
}

// Constants of inet_diag.h.
const (
	diagByFamily  = 20 // SOCK_DIAG_BY_FAMILY
	diagRequest   = 56 // size of inet_diag_req_v2
	diagMessage   = 72 // size of inet_diag_msg
	stateSYNSent  = 2  // TCP_SYN_SENT
	nlmsgHeader   = unix.SizeofNlMsghdr
	answerTimeout = 1 // seconds
)

// ReadConnecting returns the TCP connections that wait for an answer to their SYN.
// It needs no capability.
func ReadConnecting() ([]Connection, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return nil, fmt.Errorf("inet_diag: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: answerTimeout}); err != nil {
		return nil, fmt.Errorf("inet_diag: %w", err)
	}
	var all []Connection
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if err := unix.Sendto(fd, request(family), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return nil, fmt.Errorf("inet_diag: %w", err)
		}
		for done := false; !done; {
			buf := make([]byte, 1<<16)
			n, _, err := unix.Recvfrom(fd, buf, 0)
			if err != nil {
				return nil, fmt.Errorf("inet_diag: %w", err)
			}
			var some []Connection
			if some, done, err = ParseConnecting(buf[:n]); err != nil {
				return nil, fmt.Errorf("inet_diag: %w", err)
			}
			all = append(all, some...)
		}
	}
	return all, nil
}

// request returns the request for all connections of a family with an unanswered SYN.
func request(family uint8) []byte {
	b := make([]byte, nlmsgHeader+diagRequest)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], diagByFamily)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	b[nlmsgHeader], b[nlmsgHeader+1] = family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[nlmsgHeader+4:], 1<<stateSYNSent)
	return b
}

// errShort reports a message that is too short.
var errShort = errors.New("short message")

// ParseConnecting reads one datagram of the answer, and reports whether it was the
// last.
func ParseConnecting(b []byte) (all []Connection, done bool, err error) {
	for len(b) >= nlmsgHeader {
		size, kind := int(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint16(b[4:])
		if size < nlmsgHeader || size > len(b) {
			return nil, false, errShort
		}
		body := b[nlmsgHeader:size]
		switch kind {
		case unix.NLMSG_DONE:
			return all, true, nil
		case unix.NLMSG_ERROR:
			if len(body) < 4 {
				return nil, false, errShort
			}
			if code := int32(binary.NativeEndian.Uint32(body)); code != 0 {
				return nil, false, unix.Errno(-code)
			}
		case diagByFamily:
			if len(body) < diagMessage {
				return nil, false, errShort
			}
			if c, ok := connection(body); ok {
				all = append(all, c)
			}
		}
		b = b[min((size+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1), len(b)):]
	}
	return all, false, nil
}

// connection reads an inet_diag_msg: family, state, timer and retransmits, a byte
// each, then ports and addresses as on the wire.
func connection(b []byte) (Connection, bool) {
	if b[1] != stateSYNSent {
		return Connection{}, false
	}
	addr := netip.AddrFrom16([16]byte(b[24:40])).Unmap()
	if b[0] == unix.AF_INET {
		addr = netip.AddrFrom4([4]byte(b[24:28]))
	}
	return Connection{
		Remote:    netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[6:])),
		Interface: int(binary.NativeEndian.Uint32(b[40:])),
		Resent:    int(b[3]),
	}, true
}

// InterfaceName returns the name of the interface with an index; empty if there is
// none.
func InterfaceName(index int) string {
	i, err := net.InterfaceByIndex(index)
	if err != nil {
		return ""
	}
	return i.Name
}
