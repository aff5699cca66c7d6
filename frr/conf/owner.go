// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"slices"
	"strings"
)

// The daemons that Herald configures.
const (
	Zebra = "zebra"
	BFDD  = "bfdd"
	BGPD  = "bgpd"
)

// Daemons are their names.
var Daemons = []string{Zebra, BFDD, BGPD}

// ownName begins the names of the route-maps and lists that belong to Herald, so
// that those of an operator can stand beside them.
const ownName = "herald-"

// Ownership. What is in a running configuration and not in the wanted one is
// removed if it is Herald's, and left alone if not:
//
//	router bgp AS        Herald's, whole
//	router bgp AS vrf V  Herald's, whole, if a neighbor has a route-map of Herald's
//	bfd / profile NAME   Herald's
//	route-map, lists     Herald's if the name begins with "herald-"
//	ip|ipv6 nht …        Herald's
//	bgp route-map delay-timer  Herald's
//	bgp graceful-shutdown  not, though in a router: herald-frr says it before it ends
//	anything else        not: log, hostname, vrf, interface, debug, …
//
// A line of the last kind that is in the wanted text is set, and stays when the
// wanted text no longer has it.
func owned(s Section) bool {
	kind, _ := enter(inTop, s.Text)
	switch kind {
	case inRouter:
		return vrfOf(s.Text) == "" || hasOwnMaps(s)
	case inBFD:
		return true
	case inRouteMap:
		return strings.HasPrefix(s.Text, "route-map "+ownName)
	}
	if name, ok := listName(s.Text); ok {
		return strings.HasPrefix(name, ownName)
	}
	return isNexthopTracking(s.Text) || strings.HasPrefix(s.Text, policyDelay+" ")
}

// vrfOf returns the VRF of a router, given its head; empty for the default one.
func vrfOf(head string) string {
	_, vrf, _ := strings.Cut(head, " vrf ")
	return vrf
}

// hasOwnMaps reports whether a neighbor of a router has a route-map of Herald's.
// Each of Herald's neighbors has two.
func hasOwnMaps(router Section) bool {
	return slices.ContainsFunc(router.Sub, func(family Section) bool {
		return slices.ContainsFunc(family.Sub, func(l Section) bool {
			_, attr, ok := cutNeighbor(l.Text)
			return ok && strings.HasPrefix(attr, "route-map "+ownName)
		})
	})
}

// farewell is what herald-frr has a router say when it takes leave of the peers.
const farewell = "bgp graceful-shutdown"

// policyDelay begins the line that says how long bgpd waits after a change of a
// route-map until it looks at its routes again.
const policyDelay = "bgp route-map delay-timer"

// lists begin the lines that define a list; the name follows.
var lists = []string{
	"ip prefix-list ", "ipv6 prefix-list ",
	"bgp community-list standard ", "bgp community-list expanded ",
	"bgp large-community-list standard ", "bgp large-community-list expanded ",
	"bgp extcommunity-list standard ", "bgp extcommunity-list expanded ",
	"bgp as-path access-list ",
}

// listName returns the name of the list that a line is part of.
func listName(line string) (string, bool) {
	for _, l := range lists {
		if rest, ok := strings.CutPrefix(line, l); ok {
			name, _, _ := strings.Cut(rest, " ")
			return name, true
		}
	}
	return "", false
}

func isNexthopTracking(line string) bool {
	line = strings.TrimPrefix(line, "no ")
	return strings.HasPrefix(line, "ip nht ") || strings.HasPrefix(line, "ipv6 nht ")
}

// For returns the part of a wanted configuration that the daemon needs, as vtysh
// would distribute it: BGP and its policy to bgpd, BFD to bfdd, nexthop tracking
// to zebra, and the lines that every daemon knows to each. "frr version" and
// "frr defaults" go to none: FRR takes them from its file alone, before any
// configuration.
func (c *Config) For(daemon string) *Config {
	return &Config{Sections: slices.Collect(func(yield func(Section) bool) {
		for _, s := range c.Sections {
			if needs(daemon, s) && !yield(s) {
				return
			}
		}
	})}
}

func needs(daemon string, s Section) bool {
	switch {
	case strings.HasPrefix(s.Text, "frr "):
		return false
	case common(s):
		return true
	case s.Text == "bfd", strings.HasPrefix(s.Text, "debug bfd "):
		return daemon == BFDD
	case isNexthopTracking(s.Text), strings.HasPrefix(s.Text, "debug zebra "):
		return daemon == Zebra
	}
	return daemon == BGPD
}

// Parts are the parts of a wanted configuration, by daemon.
type Parts map[string]*Config

// Parts returns the part of each daemon.
func (c *Config) Parts() Parts {
	parts := make(Parts, len(Daemons))
	for _, name := range Daemons {
		parts[name] = c.For(name)
	}
	return parts
}

// Need reports whether a daemon's part has more than what every daemon gets. The
// tracking of next hops is for routes: without bgpd's there is none to track, so
// that a node that announces on layer 2 alone needs no FRR.
func (p Parts) Need(daemon string) bool {
	routes := slices.ContainsFunc(p[BGPD].Sections, func(s Section) bool { return !common(s) })
	return slices.ContainsFunc(p[daemon].Sections, func(s Section) bool {
		return !common(s) && (routes || !isNexthopTracking(s.Text))
	})
}

// common reports whether every daemon knows a line.
func common(s Section) bool {
	return strings.HasPrefix(s.Text, "hostname ") || strings.HasPrefix(s.Text, "log ")
}
