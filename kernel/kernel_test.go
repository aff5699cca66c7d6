// SPDX-License-Identifier: Apache-2.0

package kernel_test

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/kernel"
)

func TestParseSignatures(t *testing.T) {
	const text = `TcpExt: SyncookiesSent TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure TCPSackShifted
TcpExt: 1 20 3 4000000000000 5
IpExt: InNoRoutes InMcastPkts
IpExt: 7 8
`
	got, err := kernel.ParseSignatures(text)
	if want := (kernel.Signatures{Missing: 20, Unexpected: 3, Wrong: 4000000000000}); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for name, bad := range map[string]string{
		"empty":          "",
		"names alone":    "TcpExt: TCPMD5NotFound\n",
		"too few":        "TcpExt: a TCPMD5NotFound\nTcpExt: 1\n",
		"not a number":   "TcpExt: TCPMD5NotFound\nTcpExt: x\n",
		"another group":  "IpExt: TCPMD5NotFound\nIpExt: 1\n",
		"a minus before": "TcpExt: TCPMD5Failure\nTcpExt: -1\n",
	} {
		if got, err := kernel.ParseSignatures(bad); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestParseSilent(t *testing.T) {
	const text = `IP address       HW type     Flags       HW address            Mask     Device
10.9.0.2         0x1         0x2         ae:1b:bd:f4:04:6f     *        eth0
10.9.0.99        0x1         0x0         00:00:00:00:00:00     *        eth0
10.9.0.98        0x1         0x6         ae:1b:bd:f4:04:6f     *        eth0
10.9.0.3         0x1         0x0         00:00:00:00:00:00     *        eth1
10.9.0.3         0x1         0x2         ae:1b:bd:f4:04:6f     *        eth0
`
	want := map[netip.Addr]bool{netip.MustParseAddr("10.9.0.99"): true}
	if diff := cmp.Diff(want, kernel.ParseSilent(text), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("ParseSilent (-want +got):\n%s", diff)
	}
}

// The kernel's own answers are parsed. A waiting connection is tested with an address for
// which no host answers. If the network rejects it, there is no such connection.
func TestRead(t *testing.T) {
	if _, err := kernel.ReadSignatures(); err != nil {
		t.Error(err)
	}
	if _, err := kernel.ReadSilent(); err != nil {
		t.Error(err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	// A listener whose queue is full ignores SYNs.
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), 0) }); err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	for range 2 {
		c, err := net.DialTimeout("tcp4", addr.String(), 100*time.Millisecond)
		if err == nil {
			defer c.Close()
		}
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); !errors.Is(err, unix.EINPROGRESS) {
		t.Fatalf("connect: %v", err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		all, err := kernel.ReadConnecting()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			if c.Remote == addr && c.Resent > 0 {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no connection to %s whose SYN was sent again among %+v", addr, all)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// message returns a netlink message.
func message(kind uint16, body []byte) []byte {
	b := make([]byte, 16+len(body))
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	copy(b[16:], body)
	return b
}

func TestParseConnecting(t *testing.T) {
	body := make([]byte, 72)
	body[0], body[1], body[3] = unix.AF_INET6, 2, 4
	binary.BigEndian.PutUint16(body[6:], 179)
	copy(body[24:], netip.MustParseAddr("fd00::1").AsSlice())
	binary.NativeEndian.PutUint32(body[40:], 7)
	established := append([]byte{}, body...)
	established[1] = 1
	answer := append(append(message(20, body), message(20, established)...), message(unix.NLMSG_DONE, make([]byte, 4))...)
	all, done, err := kernel.ParseConnecting(answer)
	want := kernel.Connection{Remote: netip.MustParseAddrPort("[fd00::1]:179"), Interface: 7, Resent: 4}
	if err != nil || !done || len(all) != 1 || all[0] != want {
		t.Errorf("%+v, %v, %v, want %+v", all, done, err, want)
	}
	refused := make([]byte, 4)
	code := -int32(unix.EPERM)
	binary.NativeEndian.PutUint32(refused, uint32(code))
	if _, _, err := kernel.ParseConnecting(message(unix.NLMSG_ERROR, refused)); !errors.Is(err, unix.EPERM) {
		t.Errorf("a refusal: %v", err)
	}
	for n := range message(20, body) {
		short := message(20, body)[:n]
		if all, done, err := kernel.ParseConnecting(short); err == nil && (done || len(all) > 0) {
			t.Errorf("%d bytes of a message: %+v, %v", n, all, done)
		}
	}
	if _, _, err := kernel.ParseConnecting(message(20, body[:71])); err == nil {
		t.Error("a message that ends early is taken")
	}
}

func FuzzParseConnecting(f *testing.F) {
	f.Add(message(20, make([]byte, 72)))
	f.Add(message(unix.NLMSG_DONE, nil))
	f.Add(message(unix.NLMSG_ERROR, nil))
	f.Fuzz(func(_ *testing.T, b []byte) { kernel.ParseConnecting(b) })
}
