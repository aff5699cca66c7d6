// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// lanLink is the name of every machine's first link.
const lanLink = "eth0"

// kernel holds the settings of every machine: it forwards, it takes packets
// from any side, and its IPv6 addresses are usable at once instead of after
// duplicate address detection.
var kernel = map[string]string{
	"net/ipv4/ip_forward":                "1",
	"net/ipv4/conf/all/rp_filter":        "0",
	"net/ipv4/conf/default/rp_filter":    "0",
	"net/ipv4/fib_multipath_hash_policy": "1",
	"net/ipv6/conf/all/forwarding":       "1",
	"net/ipv6/conf/default/forwarding":   "1",
	"net/ipv6/conf/all/accept_dad":       "0",
	"net/ipv6/conf/default/accept_dad":   "0",
	"net/ipv6/conf/default/accept_ra":    "0",
	"net/ipv6/fib_multipath_hash_policy": "1",
}

// wire connects the machines and gives them addresses and routes.
func (t *Topology) wire() error {
	space, err := newNamespace(t.Name + "-sw")
	if err != nil {
		return err
	}
	hub, err := space.netlink()
	if err != nil {
		return err
	}
	defer hub.Close()
	// The switch is no host.
	if err := space.sysctls(map[string]string{"net/ipv6/conf/default/disable_ipv6": "1"}); err != nil {
		return err
	}
	lan, err := addBridge(hub, "lan", netip.Prefix{})
	if err != nil {
		return err
	}
	mgmt, err := t.addManagement()
	if err != nil {
		return err
	}
	host, err := netlink.NewHandle()
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer host.Close()

	for _, m := range t.Machines() {
		if err := m.Namespace.sysctls(kernel); err != nil {
			return err
		}
		if m == t.Client {
			continue // it is behind the router
		}
		err := connect(hub, lan, m.Name, m.Namespace, lanLink, netip.PrefixFrom(m.Addr4, 24), netip.PrefixFrom(m.Addr6, 64))
		if err != nil {
			return err
		}
	}
	for _, n := range t.Nodes {
		end := t.Name + "-m-" + n.Name
		if err := connect(host, mgmt, end, n.Namespace, "mgmt", netip.PrefixFrom(n.Management, 24)); err != nil {
			return err
		}
	}
	if err := t.wireClient(); err != nil {
		return err
	}
	return t.route()
}

// addManagement makes the management bridge, with the host's address.
func (t *Topology) addManagement() (netlink.Link, error) {
	host, err := netlink.NewHandle()
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	defer host.Close()
	return addBridge(host, t.slot.bridge(), t.Management)
}

// wireClient connects c1 to the router.
func (t *Topology) wireClient() error {
	r, err := t.Router.Namespace.netlink()
	if err != nil {
		return err
	}
	defer r.Close()
	err = connect(r, nil, "eth1", t.Client.Namespace, lanLink, netip.PrefixFrom(t.Client.Addr4, 24), netip.PrefixFrom(t.Client.Addr6, 64))
	if err != nil {
		return err
	}
	return addAddresses(r, "eth1", netip.PrefixFrom(t.Router.Client4, 24), netip.PrefixFrom(t.Router.Client6, 64))
}

// route gives the machines their routes and the nodes their pod addresses.
func (t *Topology) route() error {
	for _, m := range t.Machines() {
		nl, err := m.Namespace.netlink()
		if err != nil {
			return err
		}
		err = t.routeMachine(nl, m)
		nl.Close()
		if err != nil {
			return fmt.Errorf("set up %s: %w", m.Name, err)
		}
	}
	return nil
}

// routeMachine does that for one machine.
func (t *Topology) routeMachine(nl *netlink.Handle, m *Machine) error {
	if err := addAddresses(nl, "lo"); err != nil {
		return err
	}
	var err error
	if m.LinkLocal, err = linkLocal(nl, lanLink); err != nil {
		return err
	}
	gateways := []netip.Addr{t.Router.Addr4, t.Router.Addr6}
	switch m {
	case t.Router.Machine:
		return nil // it knows what is connected, and learns the rest
	case t.Client:
		gateways = []netip.Addr{t.Router.Client4, t.Router.Client6}
	}
	routes := []route{
		{netip.PrefixFrom(netip.IPv4Unspecified(), 0), gateways[0]},
		{netip.PrefixFrom(netip.IPv6Unspecified(), 0), gateways[1]},
	}
	if self := t.Node(m.Name); self != nil {
		if err := addAddresses(nl, "lo", netip.PrefixFrom(self.Pod4, 32), netip.PrefixFrom(self.Pod6, 128)); err != nil {
			return err
		}
		for _, n := range t.Nodes {
			if n != self {
				routes = append(routes,
					route{netip.PrefixFrom(n.Pod4, 24).Masked(), n.Addr4},
					route{netip.PrefixFrom(n.Pod6, 64).Masked(), n.Addr6})
			}
		}
	}
	var errs []error
	for _, r := range routes {
		if err := nl.RouteAdd(&netlink.Route{Dst: ipNet(r.to), Gw: r.via.AsSlice()}); err != nil {
			errs = append(errs, fmt.Errorf("add route to %s via %s: %w", r.to, r.via, err))
		}
	}
	return errors.Join(errs...)
}

// A route of the kernel's main table.
type route struct {
	to  netip.Prefix
	via netip.Addr
}

// addBridge makes a bridge that forwards at once and floods all multicast, and
// gives it an address if that is valid.
func addBridge(nl *netlink.Handle, name string, addr netip.Prefix) (netlink.Link, error) {
	snooping := false
	b := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}, MulticastSnooping: &snooping}
	if err := nl.LinkAdd(b); err != nil {
		return nil, fmt.Errorf("add bridge %s: %w", name, err)
	}
	if addr.IsValid() {
		return b, addAddresses(nl, name, addr)
	}
	return b, addAddresses(nl, name)
}

// connect makes a link between nl's namespace, where its end is called outer and
// belongs to the bridge unless that is nil, and a namespace where its end is
// called inner and has the addresses.
func connect(nl *netlink.Handle, bridge netlink.Link, outer string, ns Namespace, inner string, addrs ...netip.Prefix) error {
	h, err := netns.GetFromName(ns.Name)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", ns.Name, err)
	}
	defer h.Close()
	attrs := netlink.LinkAttrs{Name: outer}
	if bridge != nil {
		attrs.MasterIndex = bridge.Attrs().Index
	}
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: inner, PeerNamespace: netlink.NsFd(h)}
	if err := nl.LinkAdd(veth); err != nil {
		return fmt.Errorf("add link %s to %s: %w", outer, ns.Name, err)
	}
	if err := addAddresses(nl, outer); err != nil {
		return err
	}
	peer, err := ns.netlink()
	if err != nil {
		return err
	}
	defer peer.Close()
	return addAddresses(peer, inner, addrs...)
}

// Cable connects two machines directly, besides the LAN. Both ends have the name,
// and no address but the link-local one.
func Cable(a, b *Machine, name string) error {
	nl, err := a.Namespace.netlink()
	if err != nil {
		return err
	}
	defer nl.Close()
	if err := connect(nl, nil, name, b.Namespace, name); err != nil {
		return fmt.Errorf("connect %s and %s: %w", a.Name, b.Name, err)
	}
	return nil
}

// addAddresses sets a link up and gives it addresses.
func addAddresses(nl *netlink.Handle, name string, addrs ...netip.Prefix) error {
	link, err := nl.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	if err := nl.LinkSetUp(link); err != nil {
		return fmt.Errorf("set link %s up: %w", name, err)
	}
	for _, a := range addrs {
		if err := nl.AddrReplace(link, &netlink.Addr{IPNet: ipNet(a)}); err != nil {
			return fmt.Errorf("add address %s to link %s: %w", a, name, err)
		}
	}
	if len(addrs) == 0 {
		return nil
	}
	return usable(nl, link)
}

// usable waits until a link's IPv6 addresses can be used. Even without duplicate address
// detection the kernel leaves that to a worker.
func usable(nl *netlink.Handle, link netlink.Link) error {
	for start := time.Now(); time.Since(start) < startTimeout; time.Sleep(time.Millisecond) {
		addrs, err := nl.AddrList(link, netlink.FAMILY_V6)
		if err != nil {
			return fmt.Errorf("list addresses of link %s: %w", link.Attrs().Name, err)
		}
		if !slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.Flags&unix.IFA_F_TENTATIVE != 0 }) {
			return nil
		}
	}
	return fmt.Errorf("addresses of link %s are still tentative", link.Attrs().Name)
}

// linkLocal returns the IPv6 address that the kernel gave a link by itself.
func linkLocal(nl *netlink.Handle, name string) (netip.Addr, error) {
	link, err := nl.LinkByName(name)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find link %s: %w", name, err)
	}
	addrs, err := nl.AddrList(link, netlink.FAMILY_V6)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("list addresses of link %s: %w", name, err)
	}
	for _, a := range addrs {
		if ip := addrOf(a.IP); ip.IsLinkLocalUnicast() {
			return ip, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("link %s has no link-local address", name)
}

// ipNet converts a prefix to what the netlink package takes.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// addLANAddresses gives the machine's first link addresses, of the LAN's
// prefix lengths, unless it has them.
func (m *Machine) addLANAddresses(addrs ...netip.Addr) error {
	nl, err := m.Namespace.netlink()
	if err != nil {
		return err
	}
	defer nl.Close()
	var prefixes []netip.Prefix
	for _, a := range addrs {
		bits := 24
		if a.Is6() {
			bits = 64
		}
		prefixes = append(prefixes, netip.PrefixFrom(a, bits))
	}
	return addAddresses(nl, lanLink, prefixes...)
}

// AddLocal gives the machine an address on lo, as an operator would who wants
// the machine itself to answer for it.
func (m *Machine) AddLocal(addr netip.Addr) error {
	nl, err := m.Namespace.netlink()
	if err != nil {
		return err
	}
	defer nl.Close()
	return addAddresses(nl, "lo", netip.PrefixFrom(addr, addr.BitLen()))
}
