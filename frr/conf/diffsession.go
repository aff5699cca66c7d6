// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"slices"
	"strings"

	"github.com/heraldlb/herald/status"
)

// hold keeps the sessions of the neighbors that the commands from first on make
// from being opened, and returns those neighbors. bgpd opens a session as soon as
// zebra tells it that the neighbor can be reached, whether or not the families of
// the neighbor are known by then. It ends one that it has opened without them;
// after that FRR 8 tries again in a second or two, and FRR 10 may not.
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

// start has bgpd open the sessions with neighbors at once, unless they are open:
// that is what it does when it is told how often to try. By itself it waits for
// a second after a shutdown. After the end of BFD, without which FRR 10 did not
// try, it would go on not trying.
func (d *differ) start(ctx []Line, peers []string, want Section) {
	for _, s := range want.Sub {
		if peer, attr, ok := cutNeighbor(s.Text); ok && neighborKey(attr) == "timers connect" && slices.Contains(peers, peer) {
			d.add(ctx, s.Line)
		}
	}
}

// unguarded returns the neighbors that stay, but without BFD.
func unguarded(have, want Section) []string {
	var all []string
	for _, s := range have.Sub {
		if peer, attr, ok := cutNeighbor(s.Text); ok && attr == "bfd" && neighbors(want)[peer] && !has(want, s.Text) {
			all = append(all, peer)
		}
	}
	return all
}

// retry has bgpd try again to open the sessions of neighbors that were there, for which
// there are commands, and that are down: what was wrong may have been put right. By
// itself it waits twice as long after each refusal, up to two minutes; RFC 4271,
// Section 8.1.1, DampPeerOscillations. After a "clear" it waits for one second.
func (d *differ) retry(commands []Command, have, want Section, resets []Command) {
	known, stay, done := neighbors(have), neighbors(want), make(map[string]bool)
	for _, c := range resets {
		done[c.Resets] = true
	}
	for _, c := range commands {
		peer, attr, ok := cutNeighbor(c.Text)
		if !ok || !known[peer] || !stay[peer] || done[peer] || neighborKey(attr) == "timers connect" {
			continue // how often to try has bgpd try now
		}
		done[peer] = true
		d.exec(Command{Line: Line{Text: clearOf(want) + " " + peer}, Down: status.PeerOf(vrfOf(want.Text), peer)})
	}
}

// unguard removes BFD from neighbors that stay and whose BFD is to end, and from those
// for which it has to restart, as they are reached in another way. It returns the
// lines of the router that are left then.
//
// bgpd makes a BFD session when it reads "bfd", of the kind that the neighbor is at that
// time. When that changes it takes the session back, and makes another only if it
// knows its own address; but FRR 10.2 and 10.3 go on to believe what the first was
// last, and with a session of BFD that was down open none of BGP any more.
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

// resource removes the source addresses that stay, but are wanted after a line for BFD
// that is set, of neighbors that are reached in another way: their sessions are reset in
// any case.
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

// reaches returns for each neighbor the lines that say how it is reached, in order of
// their text: what kind of BFD session is with it depends on them, and bgpd resets its
// session for each.
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
		}
	}
	all := make(map[string]string, len(lines))
	for peer, l := range lines {
		slices.Sort(l)
		all[peer] = strings.Join(l, "\n")
	}
	return all
}
