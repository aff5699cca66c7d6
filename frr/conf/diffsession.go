// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"slices"
	"strings"

	"github.com/heraldlb/herald/status"
)

// hold shuts down the neighbors that the commands from first on create, and returns
// them. bgpd opens a session as soon as zebra reports that the neighbor can be
// reached, even if the neighbor's families are not configured yet. It closes a
// session that it has opened without them. FRR 8 then tries again in a second or two,
// but FRR 10 may not.
func (d *differ) hold(first int, known map[string]bool) (held []string) {
	made := slices.Clone(d.commands[first:])
	d.commands = d.commands[:first]
	for _, c := range made {
		d.commands = append(d.commands, c)
		peer, attr, ok := cutNeighbor(c.Text)
		if ok && c.Adds() && !known[peer] && makesNeighbor(attr) {
			d.add(c.Context, Line{Text: "neighbor " + peer + " shutdown"})
			held = append(held, peer)
		}
	}
	return held
}

// start makes bgpd open the sessions with neighbors at once, unless they are open: it
// does so when "timers connect" is set. By itself it waits for a second after a
// shutdown. FRR 10 does not try while it waits for BFD, and would not start to try
// after BFD is removed.
func (d *differ) start(ctx []Line, peers []string, want Section) {
	for _, s := range want.Sub {
		if peer, attr, ok := cutNeighbor(s.Text); ok && neighborKey(attr) == "timers connect" && slices.Contains(peers, peer) {
			d.add(ctx, s.Line)
		}
	}
}

// unguarded returns the neighbors that stay and lose BFD.
func unguarded(have, want Section) []string {
	var all []string
	for _, s := range have.Sub {
		if peer, attr, ok := cutNeighbor(s.Text); ok && attr == "bfd" && neighbors(want)[peer] && !has(want, s.Text) {
			all = append(all, peer)
		}
	}
	return all
}

// retry makes bgpd retry the sessions that are down with neighbors that stay and whose
// configuration changes: the change may be what they lacked. By itself bgpd waits twice
// as long after each refusal, up to two minutes; RFC 4271, Section 8.1.1,
// DampPeerOscillations. After a "clear" it waits for one second.
func (d *differ) retry(commands []Command, have, want Section, resets []Command) {
	known, stay, done := neighbors(have), neighbors(want), make(map[string]bool)
	for _, c := range resets {
		done[c.Resets] = true
	}
	for _, c := range commands {
		peer, attr, ok := cutNeighbor(c.Text)
		if !ok || !known[peer] || !stay[peer] || done[peer] || neighborKey(attr) == "timers connect" {
			continue // "timers connect" makes bgpd try now
		}
		done[peer] = true
		d.exec(Command{Line: Line{Text: clearOf(want) + " " + peer}, Down: status.PeerOf(vrfOf(want.Text), peer)})
	}
}

// unguard removes BFD from neighbors that lose it, and from neighbors for which it has
// to restart because they are reached in another way. It returns the lines of the
// router that are left.
//
// bgpd creates a BFD session when it reads "bfd". Whether it is a single-hop or a
// multihop session depends on the neighbor at that time. When this changes, bgpd
// removes the session, and creates another only if it knows its own address. FRR 10.2
// and 10.3 keep the state of the first BFD session: if it was down, they do not open
// the BGP session any more.
func (d *differ) unguard(ctx []Line, have, want Section) []Section {
	gone := make(map[string]bool) // lines
	before, after := reaches(have), reaches(want)
	for _, s := range have.Sub {
		peer, attr, ok := cutNeighbor(s.Text)
		if _, stays := after[peer]; !ok || attr != "bfd" || !stays || has(want, s.Text) && before[peer] == after[peer] {
			continue
		}
		d.add(ctx, Line{Text: "no " + s.Text})
		for _, l := range have.Sub {
			if l.Text == s.Text || strings.HasPrefix(l.Text, s.Text+" ") {
				gone[l.Text] = true
			}
		}
	}
	moved := func(peer string) bool { return before[peer] != after[peer] }
	d.resource(ctx, have, want, gone, moved)
	return slices.DeleteFunc(slices.Clone(have.Sub), func(s Section) bool { return gone[s.Text] })
}

// resource removes source addresses that stay but have to be set after BFD is. It does
// so for neighbors that are reached in another way, whose sessions are reset anyway.
func (d *differ) resource(ctx []Line, have, want Section, gone map[string]bool, moved func(peer string) bool) {
	guarded := make(map[string]bool)
	for _, s := range want.Sub {
		peer, attr, ok := cutNeighbor(s.Text)
		switch {
		case !ok:
		case attr == "bfd":
			guarded[peer] = !has(have, s.Text) || gone[s.Text]
		case neighborKey(attr) == "update-source" && guarded[peer] && has(have, s.Text) && moved(peer):
			d.add(ctx, Line{Text: unset(inRouter, s.Text)})
			gone[s.Text] = true
		}
	}
}

// reaches returns for each neighbor the lines that say how it is reached, in the order
// of their text. The kind of its BFD session depends on them, and bgpd resets the
// session when one changes. With "ttl-security", of any number of hops, a neighbor with
// an address is several hops away for bgpd.
func reaches(router Section) map[string]string {
	lines := make(map[string][]string)
	for _, s := range router.Sub {
		peer, attr, ok := cutNeighbor(s.Text)
		if !ok {
			continue
		}
		switch neighborKey(attr) {
		case "remote-as", "interface", "ebgp-multihop", "disable-connected-check", "update-source":
			lines[peer] = append(lines[peer], attr)
		case "ttl-security":
			if isAddress(peer) {
				lines[peer] = append(lines[peer], "ttl-security")
			}
		}
	}
	all := make(map[string]string, len(lines))
	for peer, l := range lines {
		slices.Sort(l)
		all[peer] = strings.Join(l, "\n")
	}
	return all
}
