// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// Ping sends one ICMP echo request to an address and reports whether an answer comes
// in time. If device, a VRF's, is not empty, the request is sent from there. Ping needs
// the capability NET_RAW.
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
	request := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: os.Getpid() & 0xffff, Seq: 1}}
	reply := icmp.Type(ipv4.ICMPTypeEchoReply)
	if addr.Is6() {
		request.Type, reply = ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply
	}
	b, err := request.Marshal(nil) // the kernel fills in the checksum of ICMPv6
	if err != nil {
		return false, err
	}
	if _, err := c.WriteTo(b, &net.IPAddr{IP: addr.AsSlice(), Zone: addr.Zone()}); err != nil {
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
		if source.Unmap() == addr.WithZone("") && answers(buf[:n], request, reply) {
			return true, nil
		}
	}
}

// answers reports whether a message is the reply to a request.
func answers(b []byte, request icmp.Message, reply icmp.Type) bool {
	m, err := icmp.ParseMessage(request.Type.Protocol(), b)
	if err != nil || m.Type != reply {
		return false
	}
	echo, ok := m.Body.(*icmp.Echo)
	return ok && echo.ID == request.Body.(*icmp.Echo).ID
}
