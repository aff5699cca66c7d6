// SPDX-License-Identifier: Apache-2.0

// Package conf reads FRR's configuration text, and computes the commands that change
// a running configuration into a wanted one.
package conf

import (
	"slices"
	"strings"
)

// A Line is one line of a configuration without its indentation, and its number in
// the text, counted from 1.
type Line struct {
	Text string
	No   int
}

// A Section is a line and the lines in the context that it opens, such as those of
// a route-map entry. Most sections are a single line.
type Section struct {
	Line
	Sub []Section
}

// A Config is a configuration in FRR's text format, as a tree.
type Config struct {
	Sections []Section
}

// Parse reads a configuration, as Herald writes it or as a daemon prints it for
// "show running-config". The indentation of a line says which context it belongs to.
// Parse drops comments, the ends of contexts, and the lines that daemons print around
// the configuration. It merges contexts that appear twice. A route-map entry that is
// first "permit" and then "deny" is the last of the two. Different texts for the same
// setting become one text: see canonical.
func Parse(text string) *Config {
	p := parser{rest: text}
	p.next()
	return &Config{Sections: p.block(-1, inTop)}
}

// String returns the configuration as text. Parse reads it back to the same tree.
func (c *Config) String() string {
	var b strings.Builder
	write(&b, c.Sections, 0)
	return b.String()
}

func write(b *strings.Builder, sections []Section, depth int) {
	for _, s := range sections {
		for range depth {
			b.WriteByte(' ')
		}
		b.WriteString(s.Text)
		b.WriteByte('\n')
		write(b, s.Sub, depth+1)
	}
}

// A scope says how the lines inside a section are read and compared.
type scope int

const (
	inTop      scope = iota
	inRouter         // router bgp
	inFamily         // address-family, inside router bgp
	inRouteMap       // one entry of a route-map
	inBFD            // bfd
	inProfile        // profile, inside bfd
	inOther          // anything that Herald does not write
)

// enter returns the scope of the lines below head, and whether head opens a context
// even if there are no lines below it.
func enter(in scope, head string) (scope, bool) {
	switch {
	case in == inTop && strings.HasPrefix(head, "router bgp "):
		return inRouter, true
	case in == inTop && strings.HasPrefix(head, "route-map "):
		return inRouteMap, true
	case in == inTop && head == "bfd":
		return inBFD, true
	case in == inRouter && strings.HasPrefix(head, "address-family "):
		return inFamily, true
	case in == inBFD && strings.HasPrefix(head, "profile "):
		return inProfile, true
	}
	return inOther, false
}

// A parser reads lines by recursive descent. Its current line is line, at indent.
type parser struct {
	rest   string
	number int
	line   string
	indent int
	end    bool
}

// next moves to the next line that carries configuration.
func (p *parser) next() {
	for p.rest != "" {
		raw := p.rest
		if i := strings.IndexByte(raw, '\n'); i >= 0 {
			raw, p.rest = raw[:i], raw[i+1:]
		} else {
			p.rest = ""
		}
		p.number++
		text := strings.TrimLeft(raw, " \t")
		p.indent = len(raw) - len(text)
		p.line = strings.TrimRight(text, " \t\r")
		if !noise(p.line) {
			return
		}
	}
	p.end = true
}

// noise reports whether a line carries no configuration. The end of a context is
// noise, since the indentation shows it.
func noise(line string) bool {
	if line == "" {
		return true
	}
	switch line[0] {
	case '!', '#':
		return true
	case 'e':
		return line == "end" || line == "exit" || strings.HasPrefix(line, "exit-")
	case 'B':
		return line == "Building configuration..."
	case 'C':
		return line == "Current configuration:"
	}
	return false
}

// block reads the lines that are indented deeper than outer.
func (p *parser) block(outer int, in scope) []Section {
	var list []Section
	if in == inFamily {
		list = make([]Section, 0, strings.Count(p.rest, "network ")+8)
	}
	var index map[string]int // of sections that hold others
	for !p.end && p.indent > outer {
		s := Section{Line: Line{canonical(in, p.line), p.number}}
		within, opens := enter(in, s.Text)
		indent := p.indent
		p.next()
		if !p.end && p.indent > indent {
			s.Sub = p.block(indent, within)
		}
		if s.Text == "" {
			continue
		}
		if both, ok := expand(in, s); ok {
			list = append(list, both[:]...)
			continue
		}
		if opens || s.Sub != nil {
			key := s.Text
			if within == inRouteMap {
				key = entryKey(s.Text)
			}
			if i, again := index[key]; again {
				list[i].Text = s.Text
				list[i].Sub = merge(list[i].Sub, s.Sub, within)
				continue
			}
			if index == nil {
				index = make(map[string]int)
			}
			index[key] = len(list)
		}
		list = append(list, s)
	}
	return list
}

// merge appends the sections of more to list. If list has a context already, it
// appends to that context.
func merge(list, more []Section, in scope) []Section {
	for _, s := range more {
		within, opens := enter(in, s.Text)
		i := -1
		if opens || s.Sub != nil {
			i = slices.IndexFunc(list, func(o Section) bool {
				return o.Text == s.Text && (opens || o.Sub != nil)
			})
		}
		if i < 0 {
			list = append(list, s)
			continue
		}
		list[i].Sub = merge(list[i].Sub, s.Sub, within)
	}
	return list
}
