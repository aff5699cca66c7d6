// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"slices"
	"strings"
)

// router makes a router what it is to be. have is nil if there is none.
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
		return ok && !stay[peer]
	}
	moved := movedPorts(*have, want)
	d.lines(ctx, inRouter, have.Sub, want.Sub, gone)

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
	for _, peer := range moved {
		d.exec("clear bgp " + peer)
	}
}

// movedPorts returns the neighbors that stay and whose port changes. bgpd uses a
// new port for its next connection only, and may wait for two minutes before it
// makes one.
func movedPorts(have, want Section) []string {
	before, after := ports(have), ports(want)
	var moved []string
	for _, peer := range neighborsInOrder(want) {
		if old, stays := before[peer]; stays && old != after[peer] {
			moved = append(moved, peer)
		}
	}
	return moved
}

func ports(router Section) map[string]string {
	m := make(map[string]string)
	for _, s := range router.Sub {
		peer, attr, ok := cutNeighbor(s.Text)
		if !ok {
			continue
		}
		if port, ok := strings.CutPrefix(attr, "port "); ok {
			m[peer] = port
		} else if m[peer] == "" {
			m[peer] = "179" // not printed when it is the default
		}
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

// neighbors returns the peers that a router names.
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

// removeNeighbor returns the command that removes a peer: an address as it is, a
// group or an interface with the word that made it.
func removeNeighbor(router Section, peer string) string {
	for _, s := range router.Sub {
		if p, attr, ok := cutNeighbor(s.Text); ok && p == peer {
			if attr == "peer-group" {
				return "no neighbor " + peer + " peer-group"
			}
			if firstPrefix([]string{"interface"}, attr) == "interface" && !strings.Contains(peer, ":") {
				return "no neighbor " + peer + " interface"
			}
		}
	}
	return "no neighbor " + peer
}
