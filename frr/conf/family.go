// SPDX-License-Identifier: Apache-2.0

package conf

import "strings"

// A Family is an address family of a router, whose networks it has.
type Family struct {
	VRF  string // empty: the default one
	IPv6 bool

	context []Line
}

// Families returns the address families of all routers.
func (c *Config) Families() []Family {
	var out []Family
	for _, router := range c.Sections {
		if kind, _ := enter(inTop, router.Text); kind != inRouter {
			continue
		}
		for _, s := range router.Sub {
			if isFamily(s) {
				out = append(out, Family{
					VRF: vrfOf(router.Text), IPv6: strings.HasPrefix(s.Text, "address-family ipv6 "),
					context: []Line{router.Line, s.Line},
				})
			}
		}
	}
	return out
}

// Change returns the commands that change some lines of networks into others, as Diff does
// between two configurations that differ in nothing else.
func (f Family) Change(have, want []Line) []Command {
	var d differ
	d.lines(f.context, inFamily, sections(have), sections(want), never)
	return d.commands
}

func sections(lines []Line) []Section {
	out := make([]Section, len(lines))
	for i, l := range lines {
		out[i].Line = l
	}
	return out
}

// SplitActivate splits lines of an address family into those that activate a neighbor and
// the others. A neighbor exchanges routes of the family from "activate" on, and bgpd may
// run between two lines. Without a route-map it sends and accepts all routes, so lines that
// activate are added after the neighbors' route-maps, and removed before them.
func SplitActivate(lines []Section) (activate, others []Section) {
	for _, s := range lines {
		if _, attr, ok := cutNeighbor(s.Text); ok && attr == "activate" {
			activate = append(activate, s)
		} else {
			others = append(others, s)
		}
	}
	return activate, others
}
