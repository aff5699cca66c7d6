// SPDX-License-Identifier: Apache-2.0

package render

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/config"
)

const (
	inMap = "herald-in" // the route-map that denies every route received

	// connectTime separates attempts to open a session. FRR's 120 s is how long
	// a router that restarts would be without routes.
	connectTime = 10 * time.Second

	// policyDelay is how many seconds after the last change of a route-map bgpd
	// looks at its routes again, and after it has read frr.conf opens sessions.
	// FRR's default is 5; with 0 it never looks again.
	policyDelay = 1

	// multiHops is how many hops away an eBGP peer with EBGPMultiHop may be. The
	// most is 255, but versions of FRR differ in whether they show that.
	multiHops = 254

	// maxTimer is the longest hold time, RFC 4271, Section 4.2.
	maxTimer = 65535 * time.Second
)

// A view is what the template shows: every choice has been made.
type view struct {
	Hostname  string
	RouteMaps []routeMap
	Router    *router // nil: no BGP
	BFD       *bfd    // nil: no profiles
}

// A routeMap is one entry of a route-map.
type routeMap struct {
	Name     string
	Action   string
	Sequence uint32
	Lines    []string
}

type router struct {
	ASN         uint32
	PolicyDelay int // seconds
	Lines       []string
	Families    []family
}

type family struct {
	Name      string // ipv4 or ipv6
	Networks  []string
	Neighbors []member
}

// A member is a neighbor with which routes of a family are exchanged.
type member struct {
	Address netip.Addr
	In, Out string // route-maps
}

type bfd struct{ Profiles []profile }

type profile struct {
	Name  string
	Lines []string
}

// newView decides every line of the text. The order inside a section is that
// of FRR's running configuration.
func newView(c Config, show func(config.Secret) string) (view, error) {
	v := view{Hostname: c.Hostname}
	for _, p := range c.BFDProfiles {
		if v.BFD == nil {
			v.BFD = &bfd{}
		}
		v.BFD.Profiles = append(v.BFD.Profiles, profile{p.Name, profileLines(p)})
	}
	if c.ASN == 0 {
		return v, nil
	}
	labels, err := labels(c.Classes)
	if err != nil {
		return view{}, err
	}
	v.RouteMaps = routeMaps(c, labels)
	v.Router = &router{ASN: c.ASN, PolicyDelay: policyDelay, Lines: routerLines(c, show)}
	for _, f := range []struct {
		name string
		is4  bool
	}{{"ipv4", true}, {"ipv6", false}} {
		if fam := newFamily(c, labels, f.name, f.is4); len(fam.Networks)+len(fam.Neighbors) > 0 {
			v.Router.Families = append(v.Router.Families, fam)
		}
	}
	return v, nil
}

func outMap(neighbor netip.Addr) string { return "herald-out-" + neighbor.String() }

// routeMaps returns the entries of all route-maps: one that receives nothing,
// one for each class, which tags its routes where they originate, and for each
// neighbor one that lets the tags of its classes through and nothing else.
func routeMaps(c Config, labels []label) []routeMap {
	out := []routeMap{{Name: inMap, Action: "deny", Sequence: 10}}
	entries := map[netip.Addr][]routeMap{}
	for i, class := range c.Classes {
		out = append(out, routeMap{
			Name:     labels[i].routeMap(),
			Action:   "permit",
			Sequence: 10,
			Lines:    []string{fmt.Sprintf("set tag %d", labels[i].tag)},
		})
		for _, a := range class.Attributes {
			entries[a.Neighbor] = append(entries[a.Neighbor], routeMap{
				Name:     outMap(a.Neighbor),
				Action:   "permit",
				Sequence: labels[i].sequence,
				Lines:    append([]string{fmt.Sprintf("match tag %d", labels[i].tag)}, attributeLines(a)...),
			})
		}
	}
	for _, n := range c.Neighbors {
		out = append(out, entries[n.Address]...)
		// FRR denies the rest by itself, but only where there is a first entry.
		out = append(out, routeMap{Name: outMap(n.Address), Action: "deny", Sequence: lastSequence})
	}
	slices.SortFunc(out, func(a, b routeMap) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Sequence, b.Sequence))
	})
	return out
}

func attributeLines(a Attributes) []string {
	var standard, large, lines []string
	for _, c := range a.Communities {
		if c.IsLarge() {
			large = append(large, c.String())
		} else {
			standard = append(standard, communityName(c))
		}
	}
	if len(standard) > 0 {
		lines = append(lines, "set community "+strings.Join(standard, " ")+" additive")
	}
	if len(large) > 0 {
		lines = append(lines, "set large-community "+strings.Join(large, " ")+" additive")
	}
	if a.LocalPref != 0 {
		lines = append(lines, fmt.Sprintf("set local-preference %d", a.LocalPref))
	}
	return lines
}

func routerLines(c Config, show func(config.Secret) string) []string {
	var lines []string
	if c.RouterID.IsValid() {
		lines = append(lines, fmt.Sprintf("bgp router-id %s", c.RouterID))
	}
	lines = append(lines,
		"no bgp ebgp-requires-policy", // RFC 8212 asks for policies; herald-in and herald-out-… are
		"no bgp default ipv4-unicast",
		// By default bgpd waits a second before it sends a new peer its routes, in
		// the hope of another that gets the same. A route that a change of policy
		// sends in that time, and that then is removed, it would never withdraw.
		"coalesce-time 0",
		"bgp graceful-restart preserve-fw-state",
		"no bgp network import-check", // the node's kernel has no route to an address of a Service
	)
	for _, n := range c.Neighbors {
		for _, l := range neighborLines(c, n, show) {
			lines = append(lines, fmt.Sprintf("neighbor %s %s", n.Address, l))
		}
	}
	return lines
}

func neighborLines(c Config, n Neighbor, show func(config.Secret) string) []string {
	lines := []string{fmt.Sprintf("remote-as %d", n.ASN)}
	if n.LocalASN != 0 {
		lines = append(lines, fmt.Sprintf("local-as %d no-prepend replace-as", n.LocalASN))
	}
	if n.BFDProfile != "" {
		lines = append(lines, "bfd", "bfd profile "+n.BFDProfile)
	}
	if !n.Password.IsZero() {
		lines = append(lines, "password "+show(n.Password))
	}
	if n.Port != 0 && n.Port != 179 {
		lines = append(lines, fmt.Sprintf("port %d", n.Port))
	}
	ebgp := n.ASN != c.ASN
	if ebgp && n.EBGPMultiHop {
		lines = append(lines, fmt.Sprintf("ebgp-multihop %d", multiHops))
	}
	if ebgp && !n.EBGPMultiHop && n.Address.Is6() {
		// A node that got its address by DHCPv6 has it as a /128: a router on the
		// same link is then in no connected prefix.
		lines = append(lines, "disable-connected-check")
	}
	if n.SourceAddress.IsValid() {
		lines = append(lines, fmt.Sprintf("update-source %s", n.SourceAddress))
	}
	if keepalive, hold, ok := timers(n); ok {
		lines = append(lines, fmt.Sprintf("timers %d %d", keepalive/time.Second, hold/time.Second))
	}
	return append(lines, fmt.Sprintf("timers connect %d", connectTime/time.Second))
}

// timers returns the session's timers, the missing one of the two made from
// the other (RFC 4271, Section 10), or false to leave both to FRR.
func timers(n Neighbor) (keepalive, hold time.Duration, ok bool) {
	switch {
	case n.HoldTime != nil && n.KeepaliveTime != nil:
		return *n.KeepaliveTime, *n.HoldTime, true
	case n.HoldTime != nil:
		return *n.HoldTime / 3, *n.HoldTime, true
	case n.KeepaliveTime != nil:
		return *n.KeepaliveTime, min(3**n.KeepaliveTime, maxTimer), true
	}
	return 0, 0, false
}

func newFamily(c Config, labels []label, name string, is4 bool) family {
	f := family{Name: name}
	names := make([]string, len(labels))
	for i, l := range labels {
		names[i] = " route-map " + l.routeMap()
	}
	for _, n := range c.Networks {
		if n.Prefix.Addr().Is4() == is4 {
			f.Networks = append(f.Networks, n.Prefix.String()+names[n.Class])
		}
	}
	for _, n := range c.Neighbors {
		if n.Address.Is4() == is4 {
			f.Neighbors = append(f.Neighbors, member{n.Address, inMap, outMap(n.Address)})
		}
	}
	return f
}

// profileLines leaves out what is FRR's default, as FRR does.
func profileLines(p config.BFDProfile) []string {
	var lines []string
	number := func(key string, value, byDefault uint32) {
		if value != 0 && value != byDefault {
			lines = append(lines, fmt.Sprintf("%s %d", key, value))
		}
	}
	number("detect-multiplier", p.DetectMultiplier, 3)
	number("transmit-interval", p.TransmitInterval, 300)
	number("receive-interval", p.ReceiveInterval, 300)
	if p.PassiveMode {
		lines = append(lines, "passive-mode")
	}
	if p.EchoMode {
		lines = append(lines, "echo-mode")
	}
	number("echo transmit-interval", p.EchoInterval, 50)
	number("echo receive-interval", p.EchoInterval, 50)
	number("minimum-ttl", p.MinimumTTL, 254)
	return lines
}
