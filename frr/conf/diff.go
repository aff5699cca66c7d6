// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"slices"
	"strings"

	"github.com/heraldlb/herald/status"
)

// A Command is one step from the running configuration to the wanted one.
type Command struct {
	Context []Line // the contexts to enter first, outermost first
	Line           // No is 0 if it is not in the wanted text, as for a removal
	Exec    bool   // run outside of the configuration: a "clear"
	Resets  string // the neighbor whose session it resets; empty: it resets none
	Reason  string // why it resets a session

	// Down, unless zero, is a neighbor. The command is sent only if the session with
	// it was down before the first of the commands.
	Down status.PeerID
}

// String returns the contexts and the command, without passwords:
// "router bgp 64512 / neighbor 192.0.2.1 remote-as 64513".
func (c Command) String() string {
	var b strings.Builder
	for _, l := range c.Context {
		b.WriteString(l.Text)
		b.WriteString(" / ")
	}
	b.WriteString(Redact(c.Text))
	return b.String()
}

// Shown is String for a log. Of a line that is removed, which somebody else may have
// written, it has no more than Brief leaves.
func (c Command) Shown() string {
	if !c.Adds() && !c.Exec {
		c.Text = Brief(c.Text)
	}
	return c.String()
}

// Adds reports whether the command sets a line of the wanted text.
func (c Command) Adds() bool { return c.No > 0 }

// Opens reports whether a command leaves the daemon in a context of its own.
func (c Command) Opens() bool {
	in := inTop
	for _, l := range c.Context {
		in, _ = enter(in, l.Text)
	}
	_, opens := enter(in, c.Text)
	return opens
}

// Diff returns the commands that change the running configuration of a daemon into
// the wanted one, in the order in which to send them. It leaves lines alone that
// Herald does not own.
//
// A neighbor that stays is never removed, and a router only if its AS changes.
// Route-maps are made before the networks and neighbors that refer to them, and
// removed after them. A setting with one value is overwritten, not removed and set.
func Diff(running, wanted *Config) []Command {
	have, want := index(running), index(wanted)
	var d differ

	// bgpd has one router a VRF: the old one has to be removed first.
	for _, s := range running.Sections {
		if kind, _ := enter(inTop, s.Text); kind == inRouter && owned(s) && want.router(s.Text) == nil {
			d.unnumber(s)
			d.add(nil, Line{Text: "no " + s.Text})
		}
	}
	d.globals(have, want)
	changes := d.routeMaps(have, running, wanted)
	for _, s := range wanted.Sections {
		switch kind, _ := enter(inTop, s.Text); kind {
		case inRouter:
			d.router(have.router(s.Text), s)
		case inBFD:
			d.profiles(have.sections["bfd"], s)
		}
	}
	d.leftovers(running, want)
	d.refresh(changes, have, wanted)
	return append(d.commands, d.last...)
}

// unnumber removes the unnumbered neighbors of a router that is removed. Otherwise
// zebra goes on sending router advertisements for them, and zebra of FRR 10.3
// crashes when such an interface is removed later.
func (d *differ) unnumber(router Section) {
	for _, peer := range neighborsInOrder(router) {
		if text := removeNeighbor(router, peer); strings.HasSuffix(text, " interface") {
			d.add([]Line{router.Line}, Line{Text: text})
		}
	}
}

// An outline finds the parts of a configuration.
type outline struct {
	sections map[string]Section // top-level contexts by text; entries of route-maps by entryKey
	globals  []Section          // top-level lines
}

func index(c *Config) outline {
	o := outline{sections: make(map[string]Section)}
	for _, s := range c.Sections {
		kind, opens := enter(inTop, s.Text)
		switch {
		case kind == inRouteMap:
			o.sections[entryKey(s.Text)] = s
		case opens:
			o.sections[s.Text] = s
		case s.Sub == nil:
			o.globals = append(o.globals, s)
		}
	}
	return o
}

// router returns the section of a router; nil if there is no router of that AS.
func (o outline) router(head string) *Section {
	if s, ok := o.sections[head]; ok {
		return &s
	}
	return nil
}

// entryKey returns the name and number of an entry of a route-map, which identify it;
// "permit" and "deny" do not.
func entryKey(head string) string {
	f := strings.Fields(head)
	if len(f) != 4 {
		return head
	}
	return "route-map " + f[1] + " " + f[3]
}

// A differ collects the commands of a Diff.
type differ struct {
	commands []Command
	last     []Command // sent after all others
}

func (d *differ) add(ctx []Line, l Line) {
	d.commands = append(d.commands, Command{Context: ctx, Line: l})
}

// exec adds a command that is not configuration.
func (d *differ) exec(c Command) {
	c.Exec = true
	d.last = append(d.last, c)
}

// globals sets the wanted top-level lines. leftovers removes the others.
func (d *differ) globals(have, want outline) {
	d.lines(nil, inTop, have.globals, want.globals, func(Section) bool { return true })
}

// lines changes the lines of one context. It first removes lines, in reverse order,
// so that a line is removed before the one it depends on. It then adds lines in the
// wanted order. It does not remove a line for which keep is true.
// A line that activates a neighbor is removed first; see SplitActivate.
func (d *differ) lines(ctx []Line, in scope, have, want []Section, keep func(Section) bool) {
	have, want = trim(have, want)
	if len(have) == 0 && len(want) == 0 {
		return
	}
	wanted := make(map[string]string, len(want))
	for _, s := range want {
		if s.Sub == nil {
			wanted[keyOf(in, s.Text)] = s.Text
		}
	}
	present := make(map[string]string, len(have))
	var gone []Section
	for _, s := range slices.Backward(have) {
		if s.Sub != nil {
			continue
		}
		key := keyOf(in, s.Text)
		if _, again := present[key]; !again {
			present[key] = s.Text
		}
		if _, stays := wanted[key]; !stays && !keep(s) {
			gone = append(gone, s)
		}
	}
	first, rest := SplitActivate(gone)
	for _, s := range append(first, rest...) {
		d.add(ctx, Line{Text: unset(in, s.Text)})
	}
	for _, s := range want {
		if s.Sub != nil {
			continue
		}
		key := keyOf(in, s.Text)
		if present[key] != s.Text && wanted[key] == s.Text {
			d.add(ctx, s.Line)
		}
	}
}

// trim drops the lines that both lists have at the beginning, and those that both have
// at the end. Little is left to compare between two versions of a wanted text.
func trim(a, b []Section) (restA, restB []Section) {
	same := func(x, y Section) bool { return x.Text == y.Text && x.Sub == nil && y.Sub == nil }
	for len(a) > 0 && len(b) > 0 && same(a[0], b[0]) {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && same(a[len(a)-1], b[len(b)-1]) {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return a, b
}

// profiles sets the wanted BFD profiles. leftovers removes the others.
func (d *differ) profiles(have, want Section) {
	present := make(map[string]Section)
	for _, s := range have.Sub {
		present[s.Text] = s
	}
	for _, s := range want.Sub {
		kind, _ := enter(inBFD, s.Text)
		if kind != inProfile {
			continue
		}
		old, exists := present[s.Text]
		if !exists && len(s.Sub) == 0 {
			d.add([]Line{want.Line}, s.Line)
		}
		d.lines([]Line{want.Line, s.Line}, inProfile, old.Sub, s.Sub, never)
	}
}

// leftovers removes sections that Herald owns and the wanted configuration does not
// have. At this point nothing refers to them any more.
func (d *differ) leftovers(running *Config, want outline) {
	globals := make(map[string]bool, len(want.globals))
	for _, s := range want.globals {
		globals[keyOf(inTop, s.Text)] = true
	}
	for _, s := range slices.Backward(running.Sections) {
		if !owned(s) {
			continue
		}
		kind, _ := enter(inTop, s.Text)
		switch kind {
		case inRouteMap:
			if _, stays := want.sections[entryKey(s.Text)]; !stays {
				d.add(nil, Line{Text: "no " + s.Text})
			}
		case inBFD:
			profiles := want.sections["bfd"].Sub
			for _, p := range slices.Backward(s.Sub) {
				stays := slices.ContainsFunc(profiles, func(w Section) bool { return w.Text == p.Text })
				if k, _ := enter(inBFD, p.Text); k == inProfile && !stays {
					d.add([]Line{s.Line}, Line{Text: "no " + p.Text})
				}
			}
		case inRouter: // gone already
		default:
			if !globals[keyOf(inTop, s.Text)] {
				d.add(nil, Line{Text: unset(inTop, s.Text)})
			}
		}
	}
}

func never(Section) bool { return false }
