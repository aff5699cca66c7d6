// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// Decisions are the decisions about Services, those about one in the order of addresses and
// protocols. They and their elements are read-only.
type Decisions = table.Table[cluster.Key, []status.Decision]

// Networks are the routes that a node originates, and how each is announced.
type Networks = table.Table[netip.Prefix, *render.Class]

// DesiredTables are a Desired for a loop that decides again and again.
type DesiredTables struct {
	Frame     Desired // without what follows
	Decisions Decisions
	Networks  Networks
}

// List returns the same as lists.
func (t DesiredTables) List() Desired {
	d := t.Frame
	d.Decisions = ListDecisions(t.Decisions)
	d.BGP.Classes, d.BGP.Networks = render.List(t.Networks)
	return d
}

// ListDecisions returns all decisions in their order.
func ListDecisions(all Decisions) []status.Decision {
	out := make([]status.Decision, 0, all.Len())
	for _, of := range all.All() {
		out = append(out, of...)
	}
	return out
}

// TableDecisions returns a table of decisions, which are in their order.
func TableDecisions(all []status.Decision) Decisions {
	var e table.Editor[cluster.Key, []status.Decision]
	for len(all) > 0 {
		n := 1 // about the same Service
		for n < len(all) && all[n].Service == all[0].Service {
			n++
		}
		e.Set(cluster.ParseKey(all[0].Service), all[:n:n])
		all = all[n:]
	}
	return e.Table()
}

// SameList reports whether two lists of decisions are one. A memory gives out the list of
// before while it is equal.
func SameList(a, b []status.Decision) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// SetDecisions sets the decisions about a Service, unless they are equal to those that are
// there. Without decisions it deletes those.
func SetDecisions(all *table.Editor[cluster.Key, []status.Decision], key cluster.Key, now []status.Decision) {
	if len(now) == 0 {
		all.Delete(key)
		return
	}
	if was, ok := all.Get(key); !ok || !slices.EqualFunc(was, now, status.Decision.Same) {
		all.Set(key, now)
	}
}
