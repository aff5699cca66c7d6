// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
)

// The AS numbers of peerings.
const (
	nodesAS  = 64512
	routerAS = 64513 // of routers outside
	shownAS  = 64700 // what a router sees instead of the nodes' own
	wrongAS  = 64999
)

// A peering is one combination of what a peer can be.
type peering struct {
	link     string // direct; multihop: from loopback to loopback; interface: unnumbered
	as       string // number, local, external (dynamic); inside, internal (dynamic): the router is in the nodes' AS
	ipv6     bool   // the family of the session
	bfd      string // empty, plain or echo
	source   bool   // the session's own address is not the one that the kernel takes
	password bool
	restart  bool // graceful
	dual     bool // routes of both families
	connect  bool // a longer time between attempts
	ttl      bool // GTSM at both ends
}

// peerings returns all that can be.
func peerings() []peering {
	var all []peering
	two := []bool{false, true}
	for _, link := range []string{"direct", "multihop", "interface"} {
		for _, as := range []string{"number", "local", "external", "inside", "internal"} {
			for _, bfd := range []string{"", "plain", "echo"} {
				for switches := range 1 << 7 {
					on := func(i int) bool { return two[switches>>i&1] }
					p := peering{link, as, on(0), bfd, on(1), on(2), on(3), on(4), on(5), on(6)}
					if p.ttl && p.inside() {
						continue // it is for external peers
					}
					if link == "interface" && (!p.ipv6 || p.source || p.password) {
						continue // the addresses of its session are link-local ones
					}
					all = append(all, p)
				}
			}
		}
	}
	return all
}

func (p peering) columns() []string {
	return []string{
		p.link, p.as, fmt.Sprint(p.ipv6), p.bfd, fmt.Sprint(p.source), fmt.Sprint(p.password),
		fmt.Sprint(p.restart), fmt.Sprint(p.dual), fmt.Sprint(p.connect), fmt.Sprint(p.ttl),
	}
}

// String returns what is there: "multihop inside ipv6 bfd=plain source".
func (p peering) String() string {
	words := []string{p.link, p.as}
	return strings.Join(append(words, p.options()...), " ")
}

// options returns the names of the options that p has.
func (p peering) options() []string {
	var all []string
	for _, o := range []struct {
		is   bool
		name string
	}{
		{p.ipv6, "ipv6"},
		{p.bfd != "", "bfd=" + p.bfd},
		{p.source, "source"},
		{p.password, "password"},
		{p.restart, "restart"},
		{p.dual, "dual"},
		{p.connect, "connect"},
		{p.ttl, "ttl"},
	} {
		if o.is {
			all = append(all, o.name)
		}
	}
	return all
}

// inside reports whether the router is in the nodes' AS.
func (p peering) inside() bool { return p.as == "inside" || p.as == "internal" }

// hops returns the distance that GTSM allows, which bgpd needs to be 2 for a router that
// is in no network of the node; 0 is any.
func (p peering) hops() uint8 {
	switch {
	case !p.ttl:
		return 0
	case p.link == "multihop":
		return 2
	}
	return 1
}

// families returns of how many families routes are sent.
func (p peering) families() int {
	if p.dual || p.link == "interface" {
		return 2
	}
	return 1
}

// An end is a peering between one node and one router.
type end struct {
	peering
	node, router *lab.Node
	number       int        // of its network
	near, far    netip.Addr // of the session; zero if it is unnumbered
}

func (e end) String() string {
	return fmt.Sprintf("%s to %s %s (%s)", e.node.Name, e.router.Name, e.id(), e.peering)
}

// id returns which of the node's neighbors the router is.
func (e end) id() status.PeerID {
	if e.link == "interface" {
		return status.PeerID{Interface: e.cable()}
	}
	return status.PeerID{Address: e.far}
}

// cable returns the name of the link of an unnumbered session.
func (e end) cable() string { return fmt.Sprintf("u%dn%d", e.number, e.node.Number) }

// newEnd gives a session its addresses. Each has a network of its own. The router is .254
// there, and a node has two addresses: the kernel takes the lower one, and a peer with a
// source address the other, which is 100 higher.
func newEnd(p peering, node, router *lab.Node, number int) end {
	e := end{peering: p, node: node, router: router, number: number}
	if p.link == "interface" {
		return e
	}
	host := node.Number
	if p.source {
		host += 100
	}
	e.near, e.far = e.addr(host), e.addr(254)
	return e
}

// addr returns an address in the network of the session.
func (e end) addr(host int) netip.Addr {
	net := 30
	if e.link == "multihop" {
		net = 31
	}
	if e.ipv6 {
		return netip.MustParseAddr(fmt.Sprintf("fd00:%d:%d::%d", net, e.number, host))
	}
	return netip.AddrFrom4([4]byte{10, byte(net), byte(e.number), byte(host)})
}

// wire makes the links, addresses and routes of sessions.
func wire(ctx context.Context, ends []end) error {
	scripts := map[*lab.Node]*strings.Builder{}
	add := func(n *lab.Node, format string, args ...any) {
		if scripts[n] == nil {
			scripts[n] = &strings.Builder{}
		}
		fmt.Fprintf(scripts[n], format+"\n", args...)
	}
	for _, e := range ends {
		bits, whole, node, router, usable := 24, 32, e.node.Addr4, e.router.Addr4, ""
		if e.ipv6 {
			bits, whole, node, router, usable = 64, 128, e.node.Addr6, e.router.Addr6, " nodad"
		}
		first, second := e.addr(e.node.Number), e.addr(e.node.Number+100)
		switch e.link {
		case "interface":
			if err := lab.Cable(e.node.Machine, e.router.Machine, e.cable()); err != nil {
				return err
			}
		case "direct":
			add(e.node, "address add %s/%d dev eth0%s", first, bits, usable)
			if e.source {
				add(e.node, "address add %s/%d dev eth0%s", second, bits, usable)
			}
			add(e.router, "address replace %s/%d dev eth0%s", e.far, bits, usable)
		case "multihop":
			add(e.node, "address add %s/%d dev lo%s", first, whole, usable)
			add(e.node, "address add %s/%d dev lo%s", second, whole, usable)
			add(e.node, "route add %s/%d via %s src %s", e.far, whole, router, first)
			add(e.router, "address replace %s/%d dev lo%s", e.far, whole, usable)
			add(e.router, "route add %s/%d via %s", first, whole, node)
			add(e.router, "route add %s/%d via %s", second, whole, node)
		}
	}
	for n, s := range scripts {
		file := n.Path("wire")
		if err := os.WriteFile(file, []byte(s.String()), 0o644); err != nil {
			return err
		}
		if _, err := n.Run(ctx, "ip", "-batch", file); err != nil {
			return err
		}
	}
	return nil
}

// neighbor returns the node's side.
func (e end) neighbor() render.Neighbor {
	n := render.Neighbor{
		Address:         e.far,
		EBGPMultiHop:    e.link == "multihop" && !e.ttl,
		TTLSecurity:     e.hops(),
		GracefulRestart: e.restart,
		DualStack:       e.dual,
	}
	if e.link == "interface" {
		n.Interface = e.cable()
	}
	switch e.as {
	case "number":
		n.ASN = routerAS
	case "local":
		n.ASN, n.LocalASN = routerAS, shownAS
	case "external":
		n.DynamicASN = config.External
	case "inside":
		n.ASN = nodesAS
	case "internal":
		n.DynamicASN = config.Internal
	}
	n.BFDProfile = e.bfd
	if e.source {
		n.SourceAddress = e.near
	}
	if e.password {
		n.Password = config.NewSecret("of-" + cmp.Or(e.link, "?"))
	}
	switch {
	case e.connect:
		n.ConnectTime = new(3 * time.Second)
	case e.bfd != "":
		n.ConnectTime = new(2 * time.Second) // a router that waits for BFD refuses some attempts
	}
	return n
}

// bfdProfiles are what the nodes' side of peerings refers to.
func bfdProfiles() []config.BFDProfile {
	return []config.BFDProfile{
		{Name: "echo", TransmitInterval: 200, ReceiveInterval: 200, DetectMultiplier: 5, EchoMode: true, EchoInterval: 100},
		{Name: "plain", TransmitInterval: 200, ReceiveInterval: 200, DetectMultiplier: 5},
	}
}

// routerConf returns the frr.conf of a router with these sessions. The order of a
// neighbor's lines is that in which FRR writes them: "update-source" is behind "bfd".
func routerConf(router *lab.Node, asn int, ends []end) []byte {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("bgp route-map delay-timer 1") // or it opens nothing for five seconds
	line("bfd\n profile router\n  transmit-interval 200\n  receive-interval 200\n  detect-multiplier 5\n exit\nexit")
	line("router bgp %d\n bgp router-id %s\n no bgp ebgp-requires-policy\n no bgp default ipv4-unicast", asn, router.Addr4)
	active := map[string][]string{}
	for _, e := range ends {
		if e.router != router {
			continue
		}
		name, remote := e.near.String(), fmt.Sprintf("remote-as %d", nodesAS)
		if e.as == "local" {
			remote = fmt.Sprintf("remote-as %d", shownAS)
		}
		if e.link == "interface" {
			name = e.cable()
			remote = "interface " + remote
		}
		line(" neighbor %s %s", name, remote)
		switch {
		case e.ttl:
			line(" neighbor %s ttl-security hops %d", name, e.hops())
		case e.link == "multihop" && !e.inside():
			line(" neighbor %s ebgp-multihop 10", name)
		}
		if e.bfd != "" {
			line(" neighbor %s bfd\n neighbor %[1]s bfd profile router", name)
		}
		if e.password {
			line(" neighbor %s password %s", name, e.neighbor().Password.Reveal())
		}
		if e.link == "multihop" && e.source {
			line(" neighbor %s update-source %s", name, e.far)
		}
		for _, f := range []string{"ipv4", "ipv6"} {
			if e.families() == 2 || (f == "ipv6") == e.ipv6 {
				active[f] = append(active[f], name)
			}
		}
	}
	for _, f := range []string{"ipv4", "ipv6"} {
		line(" address-family %s unicast", f)
		for _, name := range active[f] {
			line("  neighbor %s activate", name)
		}
		line(" exit-address-family")
	}
	line("exit")
	return []byte(b.String())
}

// withoutBFD returns the commands that take BFD from a router's neighbors.
func withoutBFD(router *lab.Node, ends []end) []string {
	commands := []string{"configure terminal", ""}
	for _, e := range ends {
		if e.router != router || e.bfd == "" {
			continue
		}
		name, asn := e.near.String(), routerAS
		if e.link == "interface" {
			name = e.cable()
		}
		if e.inside() {
			asn = nodesAS
		}
		commands[1] = fmt.Sprintf("router bgp %d", asn)
		commands = append(commands, fmt.Sprintf("no neighbor %s bfd", name))
	}
	return commands
}
