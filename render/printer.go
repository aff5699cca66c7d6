// SPDX-License-Identifier: Apache-2.0

package render

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"github.com/heraldlb/herald/table"
)

// A Text is a frr.conf with its networks apart, so that a change of one needs no look at the
// others. It is immutable and may be shared.
type Text struct {
	Frame    string                            // the text without networks
	Networks table.Table[netip.Prefix, string] // the name of the route-map of each
	VRFs     map[string]map[string]bool        // by VRF: the route-maps of the networks that are in its router
	Whole    func() []byte                     // the whole text, which FRR returns
}

// A Printer makes Texts, one after the other. What has not changed is not printed again. The
// zero Printer is ready to use. It is not safe for concurrent use.
type Printer struct {
	known    bool
	frame    Config // without classes and networks
	networks table.Table[netip.Prefix, *Class]
	used     map[*Class]int // by how many networks

	text  Text
	names map[*Class]string
	lines table.Editor[netip.Prefix, string]
}

// Print returns the Text of a configuration, whose classes and networks are in a table. The
// error is that of FRR.
func (p *Printer) Print(frame Config, networks table.Table[netip.Prefix, *Class]) (Text, error) {
	if p.used == nil {
		p.used = map[*Class]int{}
	}
	classes := p.count(networks)
	before := p.networks
	p.networks = networks
	var err error
	if classes || !p.known || !reflect.DeepEqual(frame, p.frame) {
		before = table.Table[netip.Prefix, *Class]{}
		err = p.setFrame(frame)
	}
	p.known = err == nil
	for c := range table.Diff(before, networks, table.Same) {
		if err != nil {
			break
		}
		if c.After == nil {
			p.lines.Delete(c.Key)
			continue
		}
		if !c.Key.IsValid() || c.Key != c.Key.Masked() {
			p.known, err = false, fmt.Errorf("render frr.conf: network %s is not a prefix", c.Key)
		}
		name := p.names[*c.After]
		if was, ok := p.lines.Get(c.Key); !ok || was != name {
			p.lines.Set(c.Key, name)
		}
	}
	if err != nil {
		return Text{}, err
	}
	p.text.Networks = p.lines.Table()
	p.text.Whole = func() []byte {
		text, _ := FRR(whole(frame, networks)) // nothing is wrong with its parts
		return text
	}
	return p.text, nil
}

// count takes in which classes the networks are of, and reports whether these are others than
// before.
func (p *Printer) count(networks table.Table[netip.Prefix, *Class]) (changed bool) {
	for c := range table.Diff(p.networks, networks, table.Same) {
		if c.After != nil {
			p.used[*c.After]++
			changed = changed || p.used[*c.After] == 1
		}
		if c.Before != nil {
			if p.used[*c.Before]--; p.used[*c.Before] == 0 {
				delete(p.used, *c.Before)
				changed = true
			}
		}
	}
	return changed
}

// setFrame makes everything but the networks.
func (p *Printer) setFrame(frame Config) error {
	for prefix := range p.lines.Table().All() {
		if _, stays := p.networks.Get(prefix); !stays {
			p.lines.Delete(prefix)
		}
	}
	c := frame
	pointers := slices.Collect(maps.Keys(p.used))
	c.Classes, p.names = nil, make(map[*Class]string, len(pointers))
	for _, class := range pointers {
		c.Classes = append(c.Classes, *class)
	}
	c.Classes = unique(c.Classes)
	text, err := FRR(c)
	if err != nil {
		return err
	}
	labels, err := labels(c.Classes)
	if err != nil {
		return fmt.Errorf("render frr.conf: %w", err)
	}
	names := map[string]string{} // by content
	p.text = Text{Frame: string(text), VRFs: map[string]map[string]bool{}}
	for i, class := range c.Classes {
		name := labels[i].routeMap()
		names[class.String()] = name
		for _, vrf := range append([]VRF{{}}, c.VRFs...) {
			if p.text.VRFs[vrf.Name] == nil {
				p.text.VRFs[vrf.Name] = map[string]bool{}
			}
			if class.reaches(vrf.Name) {
				p.text.VRFs[vrf.Name][name] = true
			}
		}
	}
	for _, class := range pointers {
		p.names[class] = names[class.String()]
	}
	p.frame = frame
	return nil
}

// unique sorts classes, and leaves out those that are equal to others.
func unique(classes []Class) []Class {
	slices.SortFunc(classes, func(a, b Class) int { return cmp.Compare(a.String(), b.String()) })
	return slices.CompactFunc(classes, func(a, b Class) bool { return a.String() == b.String() })
}

// whole returns the configuration with its networks.
func whole(frame Config, networks table.Table[netip.Prefix, *Class]) Config {
	c := frame
	c.Classes, c.Networks = List(networks)
	return c
}

// List returns the classes of a table in the order of their content, and the networks with
// the classes' places there.
func List(networks table.Table[netip.Prefix, *Class]) ([]Class, []Network) {
	contents := map[*Class]string{}
	for _, class := range networks.All() {
		if _, known := contents[class]; !known {
			contents[class] = class.String()
		}
	}
	order := slices.Compact(slices.Sorted(maps.Values(contents)))
	classes, places := make([]Class, len(order)), make(map[*Class]int, len(contents))
	for class, content := range contents {
		i, _ := slices.BinarySearch(order, content)
		classes[i], places[class] = *class, i
	}
	out := make([]Network, 0, networks.Len())
	for prefix, class := range networks.All() {
		out = append(out, Network{Prefix: prefix, Class: places[class]})
	}
	return classes, out
}
