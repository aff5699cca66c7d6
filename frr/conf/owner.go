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

// Staticd installs the static routes of an operator's raw configuration. Herald writes
// none.
const Staticd = "staticd"

// ownName begins the names of Herald's route-maps and lists. An operator's have other
// names.
const ownName = "herald-"

// owned reports whether a section is Herald's. A section that is in the running
// configuration and not in the wanted one is removed if it is Herald's, and left alone
// otherwise:
//
//	router bgp AS        Herald's, all of it
//	router bgp AS vrf V  Herald's, all of it, if a neighbor has one of Herald's route-maps
//	bfd / profile NAME   Herald's
//	route-map, lists     Herald's if the name begins with "herald-"
//	ip|ipv6 nht …        Herald's
//	bgp route-map delay-timer  Herald's
//	bgp graceful-shutdown  not, though it is in a router: herald-frr sets it before it stops
//	a line with a context below it, which is none of these   not: Herald writes none
//	anything else        not: log, hostname, vrf, interface, debug, …
//
// A line that is not Herald's is set if the wanted text has it, and stays when the
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
	if len(s.Sub) > 0 {
		return false
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

// hasOwnMaps reports whether a neighbor of a router has one of Herald's route-maps.
// Each of Herald's neighbors has two.
func hasOwnMaps(router Section) bool {
	return slices.ContainsFunc(router.Sub, func(family Section) bool {
		return slices.ContainsFunc(family.Sub, func(l Section) bool {
			_, attr, ok := cutNeighbor(l.Text)
			return ok && strings.HasPrefix(attr, "route-map "+ownName)
		})
	})
}

// gracefulShutdown is the line that herald-frr adds to a router before it stops.
const gracefulShutdown = "bgp graceful-shutdown"

// policyDelay begins the line that sets how long bgpd waits after a change of a
// route-map until it evaluates its routes again.
const policyDelay = "bgp route-map delay-timer"

// lists has the beginnings of lines that define a list. The name follows.
var lists = []string{
	"ip prefix-list ", "ipv6 prefix-list ",
	"bgp community-list standard ", "bgp community-list expanded ",
	"bgp large-community-list standard ", "bgp large-community-list expanded ",
	"bgp extcommunity-list standard ", "bgp extcommunity-list expanded ",
	"bgp as-path access-list ",
}

// listName returns the name of the list that a line belongs to.
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

// For returns the part of a wanted configuration for a daemon, as vtysh would
// distribute it. bgpd gets BGP and its policy, bfdd gets BFD, zebra gets nexthop
// tracking, and each gets the lines that every daemon knows. No daemon gets "frr
// version" and "frr defaults": FRR takes them only from its file, before any
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

// Need reports whether a daemon's part has more than the lines that every daemon
// gets. Nexthop tracking does not count without routes: a node that announces only on
// layer 2 needs no FRR.
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
