// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
)

// classes numbers the distinct classes of one pass.
type classes struct {
	list    []*render.Class
	numbers map[string]int
	merges  map[[2]int]merge
}

// A merge is the result of announcing a route both as one class and as another.
type merge struct {
	class     int
	conflicts []conflict
	added     bool // the second had a neighbor that did not conflict
}

// A conflict is a neighbor that one route would be sent to with two values of an
// attribute.
type conflict struct {
	prefix   netip.Prefix
	neighbor status.PeerID
	by       cluster.Key   // the Service that was first
	reason   status.Reason // which attribute
	what     string        // likewise, in words
	is       string        // the value it set
	wanted   string        // the other
}

func (c conflict) String() string {
	return fmt.Sprintf("route %s to %s has %s %s of %s, not %s", c.prefix, c.neighbor, c.what, c.is, c.by, c.wanted)
}

// compare returns the conflict between two sets of attributes of the same route to a
// neighbor. ok is false if there is none: the rest adds up.
func compare(ours, theirs render.Attributes) (c conflict, ok bool) {
	c.neighbor = theirs.Neighbor
	switch {
	case ours.LocalPref != theirs.LocalPref:
		c.reason, c.what = status.ConflictingLocalPref, "local preference"
		c.is, c.wanted = fmt.Sprint(ours.LocalPref), fmt.Sprint(theirs.LocalPref)
	case ours.MED != theirs.MED:
		c.reason, c.what = status.ConflictingMED, "MED"
		c.is, c.wanted = showMetric(ours.MED), showMetric(theirs.MED)
	case len(ours.Prepend) != len(theirs.Prepend):
		c.reason, c.what = status.ConflictingPrepend, "prepended AS numbers"
		c.is, c.wanted = fmt.Sprint(len(ours.Prepend)), fmt.Sprint(len(theirs.Prepend))
	default:
		return conflict{}, false
	}
	return c, true
}

func showMetric(m render.Metric) string {
	if !m.Set {
		return "none"
	}
	return fmt.Sprint(m.Value)
}

func newClasses() *classes {
	return &classes{numbers: map[string]int{}, merges: map[[2]int]merge{}}
}

// index returns the number of c, which is new if no class is equal to it.
func (x *classes) index(c render.Class) int {
	key := c.String()
	i, ok := x.numbers[key]
	if !ok {
		i = len(x.list)
		x.numbers[key] = i
		x.list = append(x.list, &c)
	}
	return i
}

// merge announces a route of class first also as second.
func (x *classes) merge(first, second int) merge {
	key := [2]int{first, second}
	m, ok := x.merges[key]
	if !ok {
		c, conflicts := mergeClasses(*x.list[first], *x.list[second])
		m = merge{x.index(c), conflicts, len(conflicts) < len(x.list[second].Attributes)}
		x.merges[key] = m
	}
	return m
}

// mergeClasses returns the class that sends every neighbor what a and b do. Where they
// disagree about a neighbor, a counts.
func mergeClasses(a, b render.Class) (render.Class, []conflict) {
	out := render.Class{Attributes: slices.Clone(a.Attributes)}
	var conflicts []conflict
	for _, theirs := range b.Attributes {
		i, ok := slices.BinarySearchFunc(out.Attributes, theirs.Neighbor,
			func(at render.Attributes, n status.PeerID) int { return at.Neighbor.Compare(n) })
		if !ok {
			out.Attributes = slices.Insert(out.Attributes, i, theirs)
			continue
		}
		ours := &out.Attributes[i]
		if c, ok := compare(*ours, theirs); ok {
			conflicts = append(conflicts, c)
			continue
		}
		ours.GracefulShutdown = ours.GracefulShutdown || theirs.GracefulShutdown
		ours.Communities = unionCommunities(ours.Communities, theirs.Communities)
	}
	return out, conflicts
}

// routes are what the node originates. A route that several addresses are part
// of carries the communities of all.
type routes struct {
	classes *classes
	owners  map[netip.Prefix]owner
}

// An owner is how a route is announced, and for whom it was first.
type owner struct {
	class int
	by    cluster.Key
}

// add announces a route as class for a Service. It reports the neighbors that
// that do not get the route because of an earlier Service, and whether some do.
func (r routes) add(p netip.Prefix, class int, by cluster.Key) ([]conflict, bool) {
	o, ok := r.owners[p]
	if !ok {
		r.owners[p] = owner{class, by}
		return nil, true
	}
	if o.class == class {
		return nil, true
	}
	m := r.classes.merge(o.class, class)
	conflicts := slices.Clone(m.conflicts)
	for i := range conflicts {
		conflicts[i].prefix, conflicts[i].by = p, o.by
	}
	o.class = m.class
	r.owners[p] = o
	return conflicts, m.added
}

// render returns the routes, and those classes that they are of.
func (r routes) render() ([]render.Class, []render.Network) {
	networks := make([]render.Network, 0, len(r.owners))
	used := map[int]bool{}
	for p, o := range r.owners {
		networks = append(networks, render.Network{Prefix: p, Class: o.class})
		used[o.class] = true
	}
	slices.SortFunc(networks, func(a, b render.Network) int {
		// As Prefix.Compare, which would mask again what is masked.
		if c := a.Prefix.Addr().Compare(b.Prefix.Addr()); c != 0 {
			return c
		}
		return cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits())
	})

	order := slices.SortedFunc(maps.Keys(used), func(a, b int) int {
		return cmp.Compare(r.classes.list[a].String(), r.classes.list[b].String())
	})
	list := make([]render.Class, len(order))
	position := make(map[int]int, len(order))
	for i, c := range order {
		list[i] = *r.classes.list[c]
		position[c] = i
	}
	for i := range networks {
		networks[i].Class = position[networks[i].Class]
	}
	return list, networks
}

// KeepRoutes returns c with those routes of old, as they were, that one of addrs
// is part of. Neighbors that are gone are left out.
func KeepRoutes(c, old render.Config, addrs []netip.Addr) render.Config {
	if len(addrs) == 0 {
		return c
	}
	kept := routes{classes: newClasses(), owners: make(map[netip.Prefix]owner, len(c.Networks)+len(addrs))}
	for _, n := range c.Networks {
		kept.owners[n.Prefix] = owner{class: kept.classes.index(c.Classes[n.Class])}
	}
	known := make(map[status.PeerID]bool, len(c.Neighbors))
	for _, n := range c.Neighbors {
		known[n.ID()] = true
	}
	for _, n := range old.Networks {
		if _, there := kept.owners[n.Prefix]; there || !containsOne(n.Prefix, addrs) {
			continue
		}
		class := render.Class{Attributes: slices.DeleteFunc(slices.Clone(old.Classes[n.Class].Attributes),
			func(a render.Attributes) bool { return !known[a.Neighbor] })}
		if len(class.Attributes) > 0 {
			kept.owners[n.Prefix] = owner{class: kept.classes.index(class)}
		}
	}
	c.Classes, c.Networks = kept.render()
	return c
}

// KeepNetworks is KeepRoutes for tables. The neighbors are those that there are now.
func KeepNetworks(now, old Networks, neighbors []render.Neighbor, addrs []netip.Addr) Networks {
	if len(addrs) == 0 {
		return now
	}
	known := make(map[status.PeerID]bool, len(neighbors))
	for _, n := range neighbors {
		known[n.ID()] = true
	}
	gone := func(a render.Attributes) bool { return !known[a.Neighbor] }
	kept := now.Edit()
	for prefix, class := range old.All() {
		if !containsOne(prefix, addrs) {
			continue
		}
		if _, there := now.Get(prefix); there {
			continue
		}
		if slices.ContainsFunc(class.Attributes, gone) {
			class = &render.Class{Attributes: slices.DeleteFunc(slices.Clone(class.Attributes), gone)}
		}
		if len(class.Attributes) > 0 {
			kept.Set(prefix, class)
		}
	}
	return kept.Table()
}

// containsOne reports whether one of addrs, which are in order, is part of p.
func containsOne(p netip.Prefix, addrs []netip.Addr) bool {
	i, _ := slices.BinarySearchFunc(addrs, p.Addr(), netip.Addr.Compare)
	return i < len(addrs) && p.Contains(addrs[i])
}
