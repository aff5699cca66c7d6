// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"

	"github.com/heraldlb/herald/l2"
)

// allNodes is the group of all IPv6 hosts of a link, and its hardware address.
var (
	allNodes    = netip.MustParseAddr("ff02::1")
	allNodesMAC = l2.MAC{0x33, 0x33, 0, 0, 0, 1}
)

// A Forgery is a packet that says that a host has an address.
type Forgery struct {
	Addr   netip.Addr
	MAC    l2.MAC // of the host
	Source l2.MAC // of the frame
	To     l2.MAC // of the frame; zero: everybody

	asker netip.Addr // who is answered; zero: nobody has asked
}

// frame returns the frame of a Forgery, from a machine whose IPv6 address is this.
func (f Forgery) frame(from netip.Addr) ([]byte, l2.Protocol, error) {
	to := f.To
	if f.Addr.Is4() {
		operation, target := arp.OperationRequest, f.Addr
		if f.asker.IsValid() {
			operation, target = arp.OperationReply, f.asker
		}
		if to == (l2.MAC{}) {
			to = everybody
		}
		p, err := arp.NewPacket(operation, f.MAC[:], f.Addr, make(net.HardwareAddr, 6), target)
		if err != nil {
			return nil, l2.ARP, err
		}
		body, err := p.MarshalBinary()
		return append(ethernet(to, f.Source, etherARP), body...), l2.ARP, err
	}
	if to == (l2.MAC{}) {
		to = allNodesMAC
	}
	dst := allNodes
	if f.asker.IsValid() {
		dst = f.asker
	}
	body, err := ndp.MarshalMessageChecksum(&ndp.NeighborAdvertisement{
		Solicited: f.asker.IsValid(), Override: true, TargetAddress: f.Addr,
		Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: f.MAC[:]}},
	}, from, dst)
	return append(icmp6(ethernet(to, f.Source, etherIPv6), from, dst, len(body)), body...), l2.NDP, err
}

// icmp6 appends the header of an IPv6 packet with a message of neighbor discovery.
func icmp6(frame []byte, from, to netip.Addr, size int) []byte {
	frame = append(frame, 0x60, 0, 0, 0, 0, byte(size), 58, 255)
	frame = append(frame, from.AsSlice()...)
	return append(frame, to.AsSlice()...)
}

// Forge sends a forgery.
func (w *NeighborWatch) Forge(f Forgery) error {
	frame, protocol, err := f.frame(w.machine.Addr6)
	if err == nil {
		err = w.Send(frame, protocol)
	}
	if err != nil {
		return fmt.Errorf("forge a claim of %s: %w", f.Addr, err)
	}
	return nil
}

// An Impostor answers on a LAN for addresses that it does not have.
type Impostor struct {
	Answers atomic.Int64 // that it has sent

	mac    l2.MAC
	addrs  map[netip.Addr]bool
	fools  func(asker l2.MAC) bool
	from   netip.Addr
	ports  []*packet.Conn
	listen sync.WaitGroup
}

// Impersonate has the machine answer for addresses with a hardware address, which may be
// another's, to each host that it is to fool. The caller closes it.
func (m *Machine) Impersonate(mac l2.MAC, fools func(asker l2.MAC) bool, addrs ...netip.Addr) (*Impostor, error) {
	i := &Impostor{mac: mac, fools: fools, from: m.Addr6, addrs: map[netip.Addr]bool{}}
	for _, a := range addrs {
		i.addrs[a] = true
	}
	err := m.Namespace.Do(func() error {
		link, err := net.InterfaceByName(lanLink)
		if err != nil {
			return err
		}
		for _, kind := range []int{etherARP, etherIPv6} {
			port, err := packet.Listen(link, packet.Raw, kind, nil)
			if err != nil {
				return err
			}
			i.ports = append(i.ports, port)
		}
		return nil
	})
	if err != nil {
		i.Close()
		return nil, fmt.Errorf("impersonate on %s: %w", m.Name, err)
	}
	for _, port := range i.ports {
		i.listen.Go(func() { i.answer(port) })
	}
	return i, nil
}

// Close ends it.
func (i *Impostor) Close() {
	for _, port := range i.ports {
		_ = port.Close() // ends answer; there is nobody to tell
	}
	i.listen.Wait()
}

func (i *Impostor) answer(port *packet.Conn) {
	buf := make([]byte, 2048)
	for {
		n, _, err := port.ReadFrom(buf)
		if err != nil {
			return
		}
		f, ok := i.question(buf[:n])
		if !ok {
			continue
		}
		frame, _, err := f.frame(i.from)
		if err != nil {
			continue
		}
		if _, err := port.WriteTo(frame, &packet.Addr{HardwareAddr: f.To[:]}); err == nil {
			i.Answers.Add(1)
		}
	}
}

// question returns the answer to a frame, if it asks for one of the addresses.
func (i *Impostor) question(frame []byte) (f Forgery, ok bool) {
	if len(frame) < etherHeader+ipv6Header-12 {
		return f, false
	}
	f = Forgery{MAC: i.mac, Source: i.mac, To: l2.MAC(frame[6:12])}
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherARP:
		var p arp.Packet
		if p.UnmarshalBinary(frame[etherHeader:]) != nil || p.Operation != arp.OperationRequest || p.SenderIP == p.TargetIP {
			return f, false
		}
		f.Addr, f.asker = p.TargetIP, p.SenderIP
	case etherIPv6:
		if len(frame) < etherHeader+ipv6Header {
			return f, false
		}
		msg, err := ndp.ParseMessage(frame[etherHeader+ipv6Header:])
		ns, is := msg.(*ndp.NeighborSolicitation)
		asker, _ := netip.AddrFromSlice(frame[etherHeader+8 : etherHeader+24])
		if err != nil || !is || asker.IsUnspecified() {
			return f, false
		}
		f.Addr, f.asker = ns.TargetAddress, asker
	default:
		return f, false
	}
	return f, i.addrs[f.Addr] && f.To != i.mac && i.fools(f.To)
}

// Pin has the machine reach an address at a hardware address, even if others claim it, until
// the function that it returns is called.
func (m *Machine) Pin(addr netip.Addr, mac l2.MAC) (unpin func() error, err error) {
	run := func(do ...string) error {
		_, err := m.Run(m.life, "ip", append([]string{"neighbor"}, do...)...)
		return err
	}
	if err := run("replace", addr.String(), "lladdr", mac.String(), "dev", lanLink, "nud", "permanent"); err != nil {
		return nil, err
	}
	return func() error { return run("del", addr.String(), "dev", lanLink) }, nil
}
