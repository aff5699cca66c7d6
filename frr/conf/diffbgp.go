// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"net/netip"
	"slices"
	"strings"
)

// router changes a router. have is nil if there is none.
func (d *differ) router(have *Section, want Section) {
	if have == nil {
		have = &Section{}
		if len(want.Sub) == 0 {
			d.add(nil, want.Line)
		}
	}
	ctx := []Line{want.Line}

	// Removing a neighbor removes all its lines, in the families as well.
	stay := neighbors(want)
	for _, peer := range neighborsInOrder(*have) {
		if !stay[peer] {
			d.add(ctx, Line{Text: removeNeighbor(*have, peer)})
		}
	}
	gone := func(s Section) bool {
		peer, _, ok := cutNeighbor(s.Text)
		return ok && !stay[peer] || s.Text == gracefulShutdown
	}
	resets := resets(*have, want)
	first := len(d.commands)
	d.lines(ctx, inRouter, d.unguard(ctx, *have, want), want.Sub, gone)
	noteResets(d.commands[first:], *have, want)
	held := d.hold(first, neighbors(*have))

	old := families(*have)
	for _, s := range have.Sub {
		if _, stays := families(want)[s.Text]; !stays && isFamily(s) {
			d.lines([]Line{want.Line, {Text: s.Text}}, inFamily, s.Sub, nil, gone)
		}
	}
	for _, s := range want.Sub {
		if isFamily(s) {
			d.lines([]Line{want.Line, s.Line}, inFamily, old[s.Text].Sub, s.Sub, gone)
		}
	}
	for _, peer := range held {
		d.add(ctx, Line{Text: "no neighbor " + peer + " shutdown"})
	}
	d.start(ctx, append(held, unguarded(*have, want)...), want)
	d.retry(d.commands[first:], *have, want, resets)
	for _, c := range resets {
		c.Text = clearOf(want) + " " + c.Resets
		d.exec(c)
	}
}

// makesNeighbor reports whether an attribute creates the neighbor.
func makesNeighbor(attr string) bool {
	key := neighborKey(attr)
	return key == "remote-as" || key == "interface"
}

// clearOf returns the beginning of the command that resets neighbors of a router.
func clearOf(router Section) string { return Clear(vrfOf(router.Text)) }

// Clear returns the beginning of the command that resets neighbors in a VRF; the
// empty VRF is the default one.
func Clear(vrf string) string {
	if vrf != "" {
		return "clear bgp vrf " + vrf
	}
	return "clear bgp"
}

// resets returns a command, still without its text, for each neighbor that stays and
// whose session has to be reset for a change to take effect. bgpd uses a new port
// only for its next connection, for which it may wait two minutes. It announces the
// graceful restart capability only when it opens a session; RFC 4724, Section 3. Of an
// unnumbered neighbor it checks the TTL, or no longer does, only in the next session.
func resets(have, want Section) []Command {
	before, after := atOpen(have), atOpen(want)
	var all []Command
	for _, peer := range neighborsInOrder(want) {
		old, stays := before[peer]
		switch now := after[peer]; {
		case !stays || old == now:
		case old.port != now.port:
			all = append(all, Command{Resets: peer, Reason: "its port changes"})
		case old.ttlSecurity != now.ttlSecurity:
			all = append(all, Command{Resets: peer, Reason: "its TTL security changes"})
		default:
			all = append(all, Command{Resets: peer, Reason: "graceful restart changes"})
		}
	}
	return all
}

// noteResets marks the commands for neighbors that stay after which bgpd resets the
// session by itself. Both ends have to agree on the password; RFC 2385, Section 2.0. The
// TTL of packets changes with the first or the last "ttl-security", of a neighbor with an
// address.
func noteResets(commands []Command, have, want Section) {
	known, before, after := neighbors(have), secured(have), secured(want)
	for i := range commands {
		c := &commands[i]
		peer, attr, ok := cutNeighbor(c.Text)
		if !ok || !known[peer] {
			continue
		}
		switch neighborKey(attr) {
		case "password":
			c.Resets, c.Reason = peer, "its password changes"
		case "ttl-security":
			if before[peer] != after[peer] && isAddress(peer) {
				c.Resets, c.Reason = peer, "its TTL security changes"
			}
		}
	}
}

// secured returns the neighbors of a router that have "ttl-security".
func secured(router Section) map[string]bool {
	m := make(map[string]bool)
	for _, s := range router.Sub {
		if peer, attr, ok := cutNeighbor(s.Text); ok && neighborKey(attr) == "ttl-security" {
			m[peer] = true
		}
	}
	return m
}

// An opening has the settings of a neighbor that take effect when its session opens.
type opening struct {
	port            string
	gracefulRestart string
	ttlSecurity     string // of an unnumbered neighbor
}

func atOpen(router Section) map[string]opening {
	m := make(map[string]opening)
	for _, s := range router.Sub {
		peer, attr, ok := cutNeighbor(s.Text)
		if !ok {
			continue
		}
		o, known := m[peer]
		if !known {
			o.port = "179" // the default is not printed
		}
		if port, ok := strings.CutPrefix(attr, "port "); ok {
			o.port = port
		}
		if strings.HasPrefix(attr, "graceful-restart") {
			o.gracefulRestart = attr
		}
		if neighborKey(attr) == "ttl-security" && !isAddress(peer) {
			o.ttlSecurity = attr
		}
		m[peer] = o
	}
	return m
}

func isFamily(s Section) bool {
	kind, _ := enter(inRouter, s.Text)
	return kind == inFamily
}

// families returns the address families of a router by their heads.
func families(router Section) map[string]Section {
	m := make(map[string]Section)
	for _, s := range router.Sub {
		if isFamily(s) {
			m[s.Text] = s
		}
	}
	return m
}

// neighbors returns the peers of a router.
func neighbors(router Section) map[string]bool {
	m := make(map[string]bool)
	for _, peer := range neighborsInOrder(router) {
		m[peer] = true
	}
	return m
}

func neighborsInOrder(router Section) []string {
	var list []string
	for _, s := range router.Sub {
		peer, _, ok := cutNeighbor(s.Text)
		if ok && (len(list) == 0 || list[len(list)-1] != peer) && !slices.Contains(list, peer) {
			list = append(list, peer)
		}
	}
	return list
}

// removeNeighbor returns the command that removes a peer. For a group or an interface
// it ends with the word that created it.
func removeNeighbor(router Section, peer string) string {
	for _, s := range router.Sub {
		if p, attr, ok := cutNeighbor(s.Text); ok && p == peer {
			if attr == "peer-group" {
				return "no neighbor " + peer + " peer-group"
			}
			if firstPrefix([]string{"interface"}, attr) == "interface" && !isAddress(peer) {
				return "no neighbor " + peer + " interface"
			}
		}
	}
	return "no neighbor " + peer
}

// isAddress reports whether a peer is known by its address. One with a link-local
// address has an interface as well.
func isAddress(peer string) bool {
	_, err := netip.ParseAddr(peer)
	return err == nil
}
