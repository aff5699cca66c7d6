// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"net/netip"

	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/table"
)

// A Text is a frr.conf with its networks apart, so that a change of one needs no look at the
// others. It is immutable.
type Text struct {
	Frame    string                            // the text without networks; two with one Frame differ in networks alone
	Networks table.Table[netip.Prefix, string] // the name of the route-map of each
	VRFs     map[string]map[string]bool        // by VRF: the route-maps of the networks that are in its router
	Whole    func() []byte                     // the whole text; any goroutine may call it
}

// PlainText returns a Text that has no networks apart.
func PlainText(text []byte) Text {
	return Text{Frame: string(text), Whole: func() []byte { return text }}
}

// same reports whether two texts are equal.
func (t Text) same(o Text) bool {
	if t.Frame != o.Frame {
		return false
	}
	for range table.Diff(t.Networks, o.Networks, table.Same) {
		return false
	}
	return true
}

// since returns the commands that change what a daemon runs from another text to this one.
// It reports whether that can be told from the networks alone.
func (w *wanted) since(before *wanted, daemon string) (commands []conf.Command, ok bool) {
	if before == nil || before.Frame != w.Frame {
		return nil, false
	}
	if daemon != conf.BGPD || before == w {
		return nil, true
	}
	families := w.frame()[daemon].Families()
	have, want := make([][]conf.Line, len(families)), make([][]conf.Line, len(families))
	for c := range table.Diff(before.Networks, w.Networks, table.Same) {
		found := false
		for i, f := range families {
			if f.IPv6 != c.Key.Addr().Is6() {
				continue
			}
			found = true
			if c.Before != nil && w.VRFs[f.VRF][*c.Before] {
				have[i] = append(have[i], network(c.Key, *c.Before))
			}
			if c.After != nil && w.VRFs[f.VRF][*c.After] {
				want[i] = append(want[i], network(c.Key, *c.After))
			}
		}
		if !found {
			return nil, false
		}
	}
	for i, f := range families {
		commands = append(commands, f.Change(have[i], want[i])...)
	}
	return commands, true
}

// network returns the line of a network. Its number is not known, only that there is one.
func network(prefix netip.Prefix, routeMap string) conf.Line {
	return conf.Line{Text: "network " + prefix.String() + " route-map " + routeMap, No: 1}
}
