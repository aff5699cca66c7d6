// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"cmp"
	"slices"
	"strings"
)

// A change is an entry of a route-map before and after. One of the two is zero if
// the entry is added or removed.
type change struct {
	before, after Section
}

// name returns the name of the route-map.
func (c change) name() string {
	f := strings.Fields(c.before.Text + " " + c.after.Text)
	return f[1]
}

// edit reports whether the entry was there and stays.
func (c change) edit() bool { return c.before.Text != "" && c.after.Text != "" }

// tag returns the tag that the entry matches; empty if it matches any.
func (c change) tag() string {
	return cmp.Or(value(c.before, "match tag "), value(c.after, "match tag "))
}

// routeMaps adds and changes the entries of the route-maps; leftovers removes entries.
// It returns all changes.
func (d *differ) routeMaps(have outline, running, wanted *Config) []change {
	var changes []change
	stays := make(map[string]bool)
	for _, s := range wanted.Sections {
		if kind, _ := enter(inTop, s.Text); kind != inRouteMap {
			continue
		}
		key := entryKey(s.Text)
		stays[key] = true
		old := have.sections[key]
		before := len(d.commands)
		if len(s.Sub) == 0 && old.Text != s.Text || old.Text != "" && old.Text != s.Text {
			d.add(nil, s.Line)
		}
		d.lines([]Line{s.Line}, inRouteMap, old.Sub, s.Sub, never)
		if len(d.commands) > before {
			changes = append(changes, change{before: old, after: s})
		}
	}
	for _, s := range running.Sections {
		kind, _ := enter(inTop, s.Text)
		if kind == inRouteMap && owned(s) && !stays[entryKey(s.Text)] {
			changes = append(changes, change{before: s})
		}
	}
	return changes
}

// refresh makes bgpd send the routes again that a changed route-map may concern. By
// itself bgpd does so when its route-map delay timer ends, 5 s later.
//
// An entry that is added or removed together with the networks of its tag needs no
// refresh: the lines of the networks announce or withdraw them. This is the usual
// case, since Herald names a class by its content.
func (d *differ) refresh(changes []change, have outline, wanted *Config) {
	if len(changes) == 0 {
		return
	}
	for _, router := range wanted.Sections {
		if kind, _ := enter(inTop, router.Text); kind != inRouter {
			continue
		}
		old := have.router(router.Text)
		if old == nil {
			continue // nothing has been sent yet
		}
		stale := staleMaps(changes, liveTags(*old, router, have))
		before := families(*old)
		for _, family := range router.Sub {
			if !isFamily(family) {
				continue
			}
			for _, l := range family.Sub {
				peer, attr, _ := cutNeighbor(l.Text)
				f := strings.Fields(attr)
				if len(f) != 3 || f[0] != "route-map" || f[2] != "out" || !stale[f[1]] {
					continue
				}
				if has(before[family.Text], l.Text) {
					text := clearOf(router) + " " + strings.TrimPrefix(family.Text, "address-family ") + " " + peer + " soft out"
					d.exec(Command{Line: Line{Text: text}})
				}
			}
		}
	}
}

// staleMaps returns the names of the route-maps with changes that concern routes with
// one of the tags.
func staleMaps(changes []change, tags map[string]bool) map[string]bool {
	stale := make(map[string]bool)
	for _, c := range changes {
		if c.edit() || c.tag() == "" || tags[c.tag()] {
			stale[c.name()] = true
		}
	}
	return stale
}

// liveTags returns the tags that networks had before and have after.
func liveTags(before, after Section, maps outline) map[string]bool {
	used := classes(after)
	tags := make(map[string]bool)
	for name := range classes(before) {
		if !used[name] {
			continue
		}
		for _, s := range maps.sections {
			if strings.HasPrefix(s.Text, "route-map "+name+" ") {
				tags[value(s, "set tag ")] = true
			}
		}
	}
	return tags
}

// classes returns the names of the route-maps of a router's networks.
func classes(router Section) map[string]bool {
	m := make(map[string]bool)
	for _, family := range router.Sub {
		for _, s := range family.Sub {
			if strings.HasPrefix(s.Text, "network ") {
				if _, name, ok := strings.Cut(s.Text, " route-map "); ok {
					m[name] = true
				}
			}
		}
	}
	return m
}

// value returns the rest of the line of s that begins with word.
func value(s Section, word string) string {
	for _, l := range s.Sub {
		if v, ok := strings.CutPrefix(l.Text, word); ok {
			return v
		}
	}
	return ""
}

func has(s Section, line string) bool {
	return slices.ContainsFunc(s.Sub, func(l Section) bool { return l.Text == line })
}
