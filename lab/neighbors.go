// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/lab/process"
)

const (
	etherARP  = 0x0806
	etherIPv6 = 0x86dd

	etherHeader = 14
	ipv6Header  = 40
)

var everybody = l2.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// A NeighborClaim is a packet by which a host says that it has an address.
type NeighborClaim struct {
	Time  time.Time
	MAC   l2.MAC
	Asked bool // it was sent to this machine alone, as an answer is
}

// A NeighborWatch hears, on one of a machine's links, who says that he has which
// address. The machine need not have an address or a route for that.
type NeighborWatch struct {
	machine *Machine
	mac     l2.MAC
	ports   [2]l2.Port // by l2.Protocol
	done    sync.WaitGroup

	mu     sync.Mutex // guards the field below
	claims map[netip.Addr][]NeighborClaim
}

// WatchNeighbors starts to listen on the machine's first link. The caller closes
// the watch.
func (m *Machine) WatchNeighbors() (*NeighborWatch, error) { return m.WatchNeighborsOn(lanLink) }

// WatchNeighborsOn starts to listen on a link. The caller closes the watch.
func (m *Machine) WatchNeighborsOn(name string) (*NeighborWatch, error) {
	w := &NeighborWatch{machine: m, claims: map[netip.Addr][]NeighborClaim{}}
	err := m.Namespace.Do(func() error {
		link, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		w.mac = l2.MAC(link.HardwareAddr)
		for _, p := range []l2.Protocol{l2.ARP, l2.NDP} {
			w.ports[p], err = l2.Kernel{}.Open(l2.Link{Index: link.Index, Name: link.Name, MAC: w.mac}, p)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.Close()
		return nil, fmt.Errorf("watch neighbors of %s: %w", m.Name, err)
	}
	for _, port := range w.ports {
		w.done.Go(func() { w.listen(port) })
	}
	return w, nil
}

// Close ends the watch.
func (w *NeighborWatch) Close() {
	for _, port := range w.ports {
		if port != nil {
			_ = port.Close() // ends listen; there is nobody to tell
		}
	}
	w.done.Wait()
}

func (w *NeighborWatch) listen(port l2.Port) {
	buf := make([]byte, 2048)
	for {
		n, err := port.Read(buf)
		if err != nil {
			return
		}
		now := time.Now()
		addr, mac, ok := claimOf(buf[:n])
		if !ok || mac == w.mac {
			continue
		}
		w.mu.Lock()
		w.claims[addr] = append(w.claims[addr], NeighborClaim{now, mac, l2.MAC(buf[:6]) == w.mac})
		w.mu.Unlock()
	}
}

// claimOf returns which address a frame says its sender has. A question whose
// sender is somebody says so too, but of the asker's own address.
func claimOf(frame []byte) (addr netip.Addr, mac l2.MAC, ok bool) {
	if len(frame) < etherHeader {
		return addr, mac, false
	}
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherARP:
		var p arp.Packet
		if p.UnmarshalBinary(frame[etherHeader:]) != nil || !p.SenderIP.IsValid() || p.SenderIP.IsUnspecified() {
			return addr, mac, false
		}
		return p.SenderIP, l2.MAC(p.SenderHardwareAddr), true
	case etherIPv6:
		if len(frame) < etherHeader+ipv6Header {
			return addr, mac, false
		}
		msg, err := ndp.ParseMessage(frame[etherHeader+ipv6Header:])
		if err != nil {
			return addr, mac, false
		}
		na, is := msg.(*ndp.NeighborAdvertisement)
		if !is {
			return addr, mac, false
		}
		for _, o := range na.Options {
			if ll, is := o.(*ndp.LinkLayerAddress); is && ll.Direction == ndp.Target {
				return na.TargetAddress, l2.MAC(ll.Addr), true
			}
		}
	}
	return addr, mac, false
}

// Claims returns what was heard of an address since a time, in order.
func (w *NeighborWatch) Claims(addr netip.Addr, since time.Time) []NeighborClaim {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.claims[addr]
	i := slices.IndexFunc(all, func(c NeighborClaim) bool { return !c.Time.Before(since) })
	if i < 0 {
		return nil
	}
	return slices.Clone(all[i:])
}

// claimTimeout bounds each wait for a claim.
const claimTimeout = time.Minute

// WaitClaim waits until somebody for whom want is true says, after a time, that
// he has the address.
func (w *NeighborWatch) WaitClaim(ctx context.Context, addr netip.Addr, since time.Time, want func(l2.MAC) bool) (NeighborClaim, error) {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	var found NeighborClaim
	err := process.Poll(ctx, time.Millisecond, func() error {
		for _, c := range w.Claims(addr, since) {
			if want(c.MAC) {
				found = c
				return nil
			}
		}
		return errors.New("nobody did")
	})
	if err != nil {
		return found, fmt.Errorf("wait for an owner of %s: %w", addr, err)
	}
	return found, nil
}

// Ask asks everybody who has the address, waits, and returns who has answered
// meanwhile, each once.
func (w *NeighborWatch) Ask(ctx context.Context, addr netip.Addr, wait time.Duration) ([]l2.MAC, error) {
	start := time.Now()
	frame, protocol, err := w.question(addr)
	if err != nil {
		return nil, fmt.Errorf("ask for %s: %w", addr, err)
	}
	if _, err := w.ports[protocol].Write(frame); err != nil {
		return nil, fmt.Errorf("ask for %s: %w", addr, err)
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(wait):
	}
	var macs []l2.MAC
	for _, c := range w.Claims(addr, start) {
		if c.Asked {
			macs = append(macs, c.MAC)
		}
	}
	slices.SortFunc(macs, func(a, b l2.MAC) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(macs), nil
}

// Send sends a frame.
func (w *NeighborWatch) Send(frame []byte, p l2.Protocol) error {
	if _, err := w.ports[p].Write(frame); err != nil {
		return fmt.Errorf("send to the network of %s: %w", w.machine.Name, err)
	}
	return nil
}

// question returns the frame that asks for an address.
func (w *NeighborWatch) question(addr netip.Addr) ([]byte, l2.Protocol, error) {
	if addr.Is4() {
		p, err := arp.NewPacket(arp.OperationRequest, w.mac[:], w.machine.Addr4, make(net.HardwareAddr, 6), addr)
		if err != nil {
			return nil, l2.ARP, err
		}
		body, err := p.MarshalBinary()
		return append(ethernet(everybody, w.mac, etherARP), body...), l2.ARP, err
	}
	group, err := ndp.SolicitedNodeMulticast(addr)
	if err != nil {
		return nil, l2.NDP, err
	}
	body, err := ndp.MarshalMessageChecksum(&ndp.NeighborSolicitation{
		TargetAddress: addr,
		Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: w.mac[:]}},
	}, w.machine.Addr6, group)
	if err != nil {
		return nil, l2.NDP, err
	}
	g := group.As16()
	frame := ethernet(l2.MAC{0x33, 0x33, g[12], g[13], g[14], g[15]}, w.mac, etherIPv6)
	return append(icmp6(frame, w.machine.Addr6, group, len(body)), body...), l2.NDP, nil
}

func ethernet(dst, src l2.MAC, kind uint16) []byte {
	b := append(slices.Clone(dst[:]), src[:]...)
	return binary.BigEndian.AppendUint16(b, kind)
}

// MAC returns the hardware address of the machine's first link.
func (m *Machine) MAC() (l2.MAC, error) { return m.MACOf(lanLink) }

// MACOf returns the hardware address of a link.
func (m *Machine) MACOf(name string) (mac l2.MAC, err error) {
	err = m.Namespace.Do(func() error {
		link, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		mac = l2.MAC(link.HardwareAddr)
		return nil
	})
	if err != nil {
		return mac, fmt.Errorf("find the hardware address of %s on %s: %w", name, m.Name, err)
	}
	return mac, nil
}

// Owner returns the node whose first link has a hardware address; nil if none
// has.
func (t *Topology) Owner(mac l2.MAC) *Node {
	for _, n := range t.Nodes {
		if own, err := n.MAC(); err == nil && own == mac {
			return n
		}
	}
	return nil
}

// SetCable pulls the cable of a machine's first link out of the switch, or puts it
// back in. The machine notices that it has no carrier.
func (t *Topology) SetCable(ctx context.Context, m *Machine, in bool) error {
	state := map[bool]string{true: "up", false: "down"}[in]
	hub := Machine{Name: "switch", Namespace: Namespace{Name: t.Name + "-sw"}}
	_, err := hub.Run(ctx, "ip", "link", "set", m.Name, state)
	return err
}

// FlushNeighbors makes the machine forget the neighbors that it knows, as when
// all of them have expired. Questions that are on their way stay: with them go
// the packets that wait for the answer.
func (m *Machine) FlushNeighbors() error {
	nl, err := m.Namespace.netlink()
	if err != nil {
		return err
	}
	defer nl.Close()
	list, err := nl.NeighList(0, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list neighbors of %s: %w", m.Name, err)
	}
	const known = netlink.NUD_REACHABLE | netlink.NUD_STALE | netlink.NUD_DELAY | netlink.NUD_PROBE
	for _, n := range list {
		if n.State&known == 0 {
			continue
		}
		if err := nl.NeighDel(&n); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("forget neighbor %s of %s: %w", n.IP, m.Name, err)
		}
	}
	return nil
}
