// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Types of ICMP messages: RFC 792, and RFC 4443, Section 4.
const (
	echoRequest4 = 8
	echoReply4   = 0
	echoRequest6 = 128
	echoReply6   = 129
)

// Ping sends one ICMP echo request to an address, from a VRF's device unless that
// is empty, and reports whether an answer comes in time. It takes the right
// NET_RAW.
func Ping(ctx context.Context, addr netip.Addr, device string, wait time.Duration) (bool, error) {
	network := "ip4:icmp"
	if addr.Is6() {
		network = "ip6:ipv6-icmp"
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		if device == "" {
			return nil
		}
		var bound error
		if err := c.Control(func(fd uintptr) { bound = unix.BindToDevice(int(fd), device) }); err != nil {
			return err
		}
		return bound
	}}
	c, err := lc.ListenPacket(ctx, network, "")
	if err != nil {
		return false, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(wait)); err != nil {
		return false, err
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	id := uint16(os.Getpid())
	if _, err := c.WriteTo(echoRequest(addr, id), &net.IPAddr{IP: addr.AsSlice(), Zone: addr.Zone()}); err != nil {
		return false, err
	}
	buf := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return false, nil // it is late
		}
		ip, ok := from.(*net.IPAddr)
		if !ok {
			continue
		}
		source, _ := netip.AddrFromSlice(ip.IP)
		if source.Unmap() == addr.WithZone("") && isReply(addr, buf[:n], id) {
			return true, nil
		}
	}
}

// echoRequest returns a request without data. The kernel fills in the checksum of
// ICMPv6, which has the addresses in it.
func echoRequest(addr netip.Addr, id uint16) []byte {
	b := make([]byte, 8)
	b[0] = echoRequest6
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], 1)
	if addr.Is4() {
		b[0] = echoRequest4
		binary.BigEndian.PutUint16(b[2:], checksum(b))
	}
	return b
}

// isReply reports whether a message answers the request.
func isReply(addr netip.Addr, b []byte, id uint16) bool {
	want := byte(echoReply6)
	if addr.Is4() {
		want = echoReply4
	}
	return len(b) >= 8 && b[0] == want && binary.BigEndian.Uint16(b[4:]) == id
}

// checksum is the Internet checksum of an even number of bytes: RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
