// SPDX-License-Identifier: Apache-2.0

package l2_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"

	"github.com/heraldlb/herald/l2"
)

// A rig is a node with one link, eth0, and a peer at the other end of it.
type rig interface {
	network() l2.Network
	peer(t testing.TB, protocol l2.Protocol) l2.Port

	// These change the node's end of the link.
	setUp(up bool)
	setMAC(mac l2.MAC)
	setLinkLocal(addr netip.Addr) // invalid means none
	setEnslaved(enslaved bool)
	remove()
	add()

	joined(group netip.Addr) bool
}

// The addresses of the tests, and the hosts at the ends of the wire.
var (
	addr4   = netip.MustParseAddr("192.0.2.10")
	addr6   = netip.MustParseAddr("2001:db8::10")
	group6  = netip.MustParseAddr("ff02::1:ff00:10")
	nodeMAC = l2.MAC{2, 0, 0, 0, 0, 1}
	nodeLL  = netip.MustParseAddr("fe80::1")
	peerMAC = l2.MAC{2, 0, 0, 0, 0, 2}
	peer4   = netip.MustParseAddr("192.0.2.2")
	peer6   = netip.MustParseAddr("fe80::2")
)

// start runs an Announcer until the test ends.
func start(t testing.TB, opts l2.Options) *l2.Announcer {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	a := l2.New(opts)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return a
}

// patience is how long a test waits for what should happen at once.
const patience = 20 * time.Second

// until polls until check returns an empty string, and fails with what it
// returned last.
func until(t testing.TB, check func() string) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		why := check()
		if why == "" {
			return
		}
		select {
		case <-deadline:
			t.Fatal(why)
		case <-tick.C:
		}
	}
}

// A tap is the peer's end of the wire.
type tap struct {
	l2.Port
	lines chan line
}

// A line is a received frame in words, and when it came.
type line struct {
	text string
	at   time.Time
}

// listen collects what the peer receives until the test ends.
func listen(t testing.TB, r rig, protocol l2.Protocol) *tap {
	t.Helper()
	p := &tap{Port: r.peer(t, protocol), lines: make(chan line, 1<<14)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 2048)
		for {
			n, err := p.Read(buf)
			if err != nil {
				return
			}
			p.lines <- line{describe(buf[:n]), time.Now()}
		}
	}()
	t.Cleanup(func() {
		p.Close()
		<-ended
	})
	return p
}

// send sends a frame to the node.
func (p *tap) send(t testing.TB, frame []byte) {
	t.Helper()
	if _, err := p.Write(frame); err != nil {
		t.Fatal(err)
	}
}

// expect waits for a line, skipping others, and returns when it came.
func (p *tap) expect(t testing.TB, want string) time.Time {
	t.Helper()
	deadline := time.After(patience)
	var others []string
	for {
		select {
		case l := <-p.lines:
			if l.text == want {
				return l.at
			}
			others = append(others, l.text)
		case <-deadline:
			t.Fatalf("not received:\n%s\nbut:\n%s", want, strings.Join(others, "\n"))
		}
	}
}

// forget empties the tap.
func (p *tap) forget() {
	for {
		select {
		case <-p.lines:
		default:
			return
		}
	}
}

// describe puts an ARP or neighbor discovery frame into words.
func describe(b []byte) string {
	if len(b) < 14 {
		return fmt.Sprintf("short frame %x", b)
	}
	dst, src := l2.MAC(b[0:6]), l2.MAC(b[6:12])
	head := fmt.Sprintf("%s > %s ", src, dst)
	switch binary.BigEndian.Uint16(b[12:14]) {
	case 0x0806:
		var p arp.Packet
		if err := p.UnmarshalBinary(b[14:]); err != nil {
			return head + err.Error()
		}
		op := "request"
		if p.Operation == arp.OperationReply {
			op = "reply"
		}
		return head + fmt.Sprintf("arp %s %s %s to %s %s", op, p.SenderHardwareAddr, p.SenderIP, p.TargetHardwareAddr, p.TargetIP)
	case 0x86dd:
		m, err := ndp.ParseMessage(b[54:])
		if err != nil {
			return head + err.Error()
		}
		head += fmt.Sprintf("%s > %s ", netip.AddrFrom16([16]byte(b[22:38])), netip.AddrFrom16([16]byte(b[38:54])))
		switch m := m.(type) {
		case *ndp.NeighborAdvertisement:
			flags := ""
			for _, f := range []struct {
				set  bool
				name string
			}{{m.Router, "router "}, {m.Solicited, "solicited "}, {m.Override, "override "}} {
				if f.set {
					flags += f.name
				}
			}
			return head + "advertises " + flags + m.TargetAddress.String() + options(m.Options)
		case *ndp.NeighborSolicitation:
			return head + "solicits " + m.TargetAddress.String() + options(m.Options)
		}
		return head + m.Type().String()
	}
	return head + "something else"
}

func options(list []ndp.Option) (out string) {
	for _, o := range list {
		if l, ok := o.(*ndp.LinkLayerAddress); ok {
			out += fmt.Sprintf(" %s %s", map[ndp.Direction]string{ndp.Source: "from", ndp.Target: "at"}[l.Direction], l.Addr)
		}
	}
	return out
}

// arpFrame makes the frames that the peer sends.
func arpFrame(t testing.TB, dst, src l2.MAC, op arp.Operation, sender netip.Addr, target netip.Addr) []byte {
	t.Helper()
	p, err := arp.NewPacket(op, src[:], sender, make(net.HardwareAddr, 6), target)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return append(header(dst, src, 0x0806), b...)
}

// ndpFrame does so for neighbor discovery.
func ndpFrame(t testing.TB, dstMAC, srcMAC l2.MAC, src, dst netip.Addr, m ndp.Message) []byte {
	t.Helper()
	body, err := ndp.MarshalMessageChecksum(m, src, dst)
	if err != nil {
		t.Fatal(err)
	}
	b := append(header(dstMAC, srcMAC, 0x86dd), 0x60, 0, 0, 0, 0, byte(len(body)), 58, 255)
	b = append(b, src.AsSlice()...)
	b = append(b, dst.AsSlice()...)
	return append(b, body...)
}

func header(dst, src l2.MAC, kind uint16) []byte {
	b := append(dst[:], src[:]...)
	return binary.BigEndian.AppendUint16(b, kind)
}

var (
	everybody = l2.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	allNodes  = l2.MAC{0x33, 0x33, 0, 0, 0, 1}
	group6MAC = l2.MAC{0x33, 0x33, 0xff, 0, 0, 0x10}
)

// The unsolicited packets of the node about the addresses.
func gratuitous4(mac l2.MAC) []string {
	return []string{
		fmt.Sprintf("%s > %s arp request %s %s to %s %s", mac, everybody, mac, addr4, l2.MAC{}, addr4),
		fmt.Sprintf("%s > %s arp reply %s %s to %s %s", mac, everybody, mac, addr4, mac, addr4),
	}
}

func gratuitous6(mac l2.MAC, linkLocal netip.Addr) string {
	return fmt.Sprintf("%s > %s %s > ff02::1 advertises override %s at %s", mac, allNodes, linkLocal, addr6, mac)
}
