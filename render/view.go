// SPDX-License-Identifier: Apache-2.0

package render

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
)

const (
	inMap = "herald-in" // the route-map that denies every received route

	// connectTime is the time between attempts to open a session, unless the neighbor
	// sets another. With FRR's 120 s a router that restarts would lack routes for that
	// long.
	connectTime = 10 * time.Second

	// policyDelay is the number of seconds after the last change of a route-map until
	// bgpd evaluates its routes again. After it has read frr.conf, bgpd opens no
	// session for as long. FRR's default is 5. With 0 it never evaluates them again.
	policyDelay = 1

	// multiHops is the greatest distance in hops of an eBGP peer with EBGPMultiHop. The
	// limit is 255, but not all versions of FRR show that value.
	multiHops = 254

	// maxTimer is the longest hold time, RFC 4271, Section 4.2.
	maxTimer = 65535 * time.Second
)

// A view is the input of the template. It leaves no choice to it.
type view struct {
	Hostname    string
	PolicyDelay int // seconds; 0: no BGP
	RouteMaps   []routeMap
	Routers     []router // one for each VRF, the default one first
	BFD         *bfd     // nil: no profiles
}

// A routeMap is one entry of a route-map.
type routeMap struct {
	Name     string
	Action   string
	Sequence uint32
	Lines    []string
}

type router struct {
	ASN      uint32
	VRF      string // empty: the default one
	Lines    []string
	Families []family
}

type family struct {
	Name      string // ipv4 or ipv6
	Networks  []string
	Neighbors []member
}

// A member is a neighbor with which routes of a family are exchanged.
type member struct {
	Name    string // in FRR
	In, Out string // route-maps
}

type bfd struct{ Profiles []profile }

type profile struct {
	Name  string
	Lines []string
}

// newView decides every line of the text. The order inside a section is the one of
// FRR's running configuration.
func newView(c Config, show func(config.Secret) string) (view, error) {
	v := view{Hostname: c.Hostname}
	c.BFDProfiles, c.Neighbors = echoless(c.BFDProfiles, c.Neighbors)
	for _, p := range c.BFDProfiles {
		if v.BFD == nil {
			v.BFD = &bfd{}
		}
		v.BFD.Profiles = append(v.BFD.Profiles, profile{p.Name, profileLines(p)})
	}
	if c.ASN == 0 && len(c.VRFs) == 0 {
		return v, nil
	}
	labels, err := labels(c.Classes)
	if err != nil {
		return view{}, err
	}
	v.PolicyDelay = policyDelay
	v.RouteMaps = routeMaps(c, labels)
	if c.ASN != 0 {
		v.Routers = append(v.Routers, newRouter(c, VRF{ASN: c.ASN, RouterID: c.RouterID}, labels, show))
	}
	for _, vrf := range c.VRFs {
		v.Routers = append(v.Routers, newRouter(c, vrf, labels, show))
	}
	return v, nil
}

// newRouter returns the router of a VRF, with the neighbors in that VRF.
func newRouter(c Config, vrf VRF, labels []label, show func(config.Secret) string) router {
	var neighbors []Neighbor
	for _, n := range c.Neighbors {
		if n.VRF == vrf.Name {
			neighbors = append(neighbors, n)
		}
	}
	r := router{ASN: vrf.ASN, VRF: vrf.Name, Lines: routerLines(vrf, neighbors, show)}
	names := networkClasses(c.Classes, vrf.Name, labels)
	for _, f := range []struct {
		name string
		is4  bool
	}{{"ipv4", true}, {"ipv6", false}} {
		if fam := newFamily(c.Networks, names, neighbors, f.name, f.is4); len(fam.Networks)+len(fam.Neighbors) > 0 {
			r.Families = append(r.Families, fam)
		}
	}
	return r
}

// outMap returns the name of the route-map for the routes to a neighbor.
func outMap(neighbor status.PeerID) string {
	name := "herald-out-" + neighbor.Name()
	if neighbor.VRF != "" {
		name += "@" + neighbor.VRF
	}
	return name
}

// routeMaps returns the entries of all route-maps. One denies all received routes. One
// for each class tags its routes where they originate. One for each neighbor permits
// the tags of the neighbor's classes, and denies the rest.
func routeMaps(c Config, labels []label) []routeMap {
	out := []routeMap{{Name: inMap, Action: "deny", Sequence: 10}}
	entries := map[status.PeerID][]routeMap{}
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
		out = append(out, entries[n.ID()]...)
		// FRR denies the rest by itself, but only if the route-map has an entry.
		out = append(out, routeMap{Name: outMap(n.ID()), Action: "deny", Sequence: lastSequence})
	}
	slices.SortFunc(out, func(a, b routeMap) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Sequence, b.Sequence))
	})
	return out
}

func attributeLines(a Attributes) []string {
	var standard, large, lines []string
	if len(a.Prepend) > 0 {
		lines = append(lines, "set as-path prepend "+strings.Trim(fmt.Sprint(a.Prepend), "[]"))
	}
	communities := a.Communities
	if a.GracefulShutdown && !slices.Contains(communities, config.GracefulShutdown) {
		communities = slices.Concat(communities, []config.Community{config.GracefulShutdown})
		slices.SortFunc(communities, config.Community.Compare)
	}
	for _, c := range communities {
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
	switch {
	case a.GracefulShutdown:
		// For peers in our own AS, the only ones that are sent it. RFC 8326, Section 4.2.
		lines = append(lines, "set local-preference 0")
	case a.LocalPref != 0:
		lines = append(lines, fmt.Sprintf("set local-preference %d", a.LocalPref))
	}
	if a.MED.Set {
		lines = append(lines, fmt.Sprintf("set metric %d", a.MED.Value))
	}
	return lines
}

func routerLines(vrf VRF, neighbors []Neighbor, show func(config.Secret) string) []string {
	var lines []string
	if vrf.RouterID.IsValid() {
		lines = append(lines, fmt.Sprintf("bgp router-id %s", vrf.RouterID))
	}
	lines = append(lines,
		"no bgp ebgp-requires-policy", // RFC 8212 asks for policies; herald-in and herald-out-… are
		"no bgp default ipv4-unicast",
		// By default bgpd waits a second before it sends a new peer its routes, in case
		// another peer gets the same. If a change of policy sends a route within that
		// second, and the route is then removed, bgpd never withdraws it.
		"coalesce-time 0",
		"bgp graceful-restart preserve-fw-state",
		"no bgp network import-check", // the node's kernel has no route to an address of a Service
	)
	for _, n := range neighbors {
		for _, l := range neighborLines(vrf, n, show) {
			lines = append(lines, fmt.Sprintf("neighbor %s %s", n.ID().Name(), l))
		}
	}
	return lines
}

func neighborLines(vrf VRF, n Neighbor, show func(config.Secret) string) []string {
	remote := "remote-as " + string(n.DynamicASN)
	if n.ASN != 0 {
		remote = fmt.Sprintf("remote-as %d", n.ASN)
	}
	if n.Interface != "" {
		remote = "interface " + remote // this creates the neighbor
	}
	lines := []string{remote}
	if n.LocalASN != 0 {
		lines = append(lines, fmt.Sprintf("local-as %d no-prepend replace-as", n.LocalASN))
	}
	ebgp := n.ASN != vrf.ASN && n.DynamicASN != config.Internal
	// FRR refuses it for an unnumbered neighbor, which is on the same link.
	if ebgp && n.EBGPMultiHop && n.Interface == "" {
		lines = append(lines, fmt.Sprintf("ebgp-multihop %d", multiHops))
	}
	if ebgp && n.TTLSecurity != 0 {
		lines = append(lines, fmt.Sprintf("ttl-security hops %d", n.TTLSecurity))
	}
	// The position of BFD among these lines matters. FRR starts single-hop BFD when it
	// reads "bfd". If "ebgp-multihop" follows, FRR 10.2 and 10.3 drop that BFD session
	// but go on waiting for it, and never open the BGP session. If the source address
	// follows, FRR starts multihop BFD before BGP, and a router may wait for that. For
	// FRR an internal peer is several hops away until there is a connection. A peer on
	// the same link would therefore get the wrong kind of BFD session.
	var source []string
	if n.SourceAddress.IsValid() {
		source = []string{fmt.Sprintf("update-source %s", n.SourceAddress)}
	}
	if !ebgp {
		lines, source = append(lines, source...), nil
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
	if ebgp && !n.EBGPMultiHop && n.Address.Is6() {
		// A node that got its address by DHCPv6 has it as a /128. A router on the same
		// link is then in no connected prefix.
		lines = append(lines, "disable-connected-check")
	}
	lines = append(lines, source...)
	if keepalive, hold, ok := timers(n); ok {
		lines = append(lines, fmt.Sprintf("timers %d %d", keepalive/time.Second, hold/time.Second))
	}
	connect := connectTime
	if n.ConnectTime != nil {
		connect = *n.ConnectTime
	}
	lines = append(lines, fmt.Sprintf("timers connect %d", connect/time.Second))
	if n.GracefulRestart {
		lines = append(lines, "graceful-restart")
	}
	return lines
}

// timers returns the timers of the session. If only one is set, the other is computed
// from it (RFC 4271, Section 10). If none is set, ok is false: FRR has defaults.
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

// networkClasses returns for each class the end of its networks' lines in a VRF. It is
// empty if no neighbor in that VRF gets the networks.
func networkClasses(classes []Class, vrf string, labels []label) []string {
	names := make([]string, len(classes))
	for i, c := range classes {
		if c.reaches(vrf) {
			names[i] = " route-map " + labels[i].routeMap()
		}
	}
	return names
}

// reaches reports whether networks of the class are in the router of a VRF: a neighbor there
// gets them.
func (c Class) reaches(vrf string) bool {
	return len(c.Attributes) == 0 && vrf == "" ||
		slices.ContainsFunc(c.Attributes, func(a Attributes) bool { return a.Neighbor.VRF == vrf })
}

func newFamily(networks []Network, classes []string, neighbors []Neighbor, name string, is4 bool) family {
	f := family{Name: name}
	for _, n := range networks {
		if n.Prefix.Addr().Is4() == is4 && classes[n.Class] != "" {
			f.Networks = append(f.Networks, n.Prefix.String()+classes[n.Class])
		}
	}
	for _, n := range neighbors {
		if n.Carries(is4) {
			f.Neighbors = append(f.Neighbors, member{n.ID().Name(), inMap, outMap(n.ID())})
		}
	}
	return f
}
