// SPDX-License-Identifier: Apache-2.0

package members

import (
	"bytes"
	"maps"
	"net/netip"
	"slices"
)

// An item is one statement of a node about itself.
type item struct {
	kind itemKind
	addr netip.Addr // held
	name string     // iface
	mac  MAC        // station

	digest uint32 // fault and open, with addr; whole: how many of these there are
}

type itemKind byte

const (
	leaving itemKind = iota + 1 // the node stops soon
	held                        // the node has announced addr
	iface                       // the node has a suitable interface of that name
	station                     // the node answers with that hardware address
	fault                       // a probe of addr fails on the node; in a record of faults alone, as those below
	open                        // a probe of addr has no verdict there yet
	whole                       // the node has so many of them, and no others
)

// ofFaults reports whether items of the kind are in records of faults.
func (k itemKind) ofFaults() bool { return k >= fault }

// items returns s as a set.
func (s State) items() map[item]bool {
	out := make(map[item]bool, len(s.Held)+len(s.Interfaces)+len(s.MACs)+1)
	if s.Leaving {
		out[item{kind: leaving}] = true
	}
	for _, a := range s.Held {
		out[item{kind: held, addr: a}] = true
	}
	for _, name := range s.Interfaces {
		out[item{kind: iface, name: name}] = true
	}
	for _, mac := range s.MACs {
		out[item{kind: station, mac: mac}] = true
	}
	return out
}

// A change is when an item was stated or withdrawn.
type change struct {
	seq  uint64
	gone bool
}

// A record has the known items of one node. Changes may arrive in any order, twice, or
// never. The newest change of each item counts. A later record that is complete up to some
// change replaces lost ones.
type record struct {
	epoch uint64 // of the node's process; a higher one is newer
	base  uint64 // all changes up to this one are known
	items map[item]change

	stated *State // what state returned; nil: to be made
}

// set sets the items of r, the node's own record, and returns the changes.
func (r *record) set(want map[item]bool) map[item]change {
	changes := map[item]change{}
	for it := range want {
		if _, ok := r.items[it]; !ok {
			changes[it] = change{seq: r.base + 1}
		}
	}
	for it := range r.items {
		if !want[it] {
			changes[it] = change{seq: r.base + 1, gone: true}
		}
	}
	if len(changes) == 0 {
		return nil
	}
	r.base++
	r.stated = nil
	for it, c := range changes {
		if c.gone {
			delete(r.items, it)
		} else {
			r.items[it] = c
		}
	}
	return changes
}

// merge adds the changes of another record of the same node, and reports whether any was
// new.
func (r *record) merge(o record) bool {
	if o.epoch < r.epoch {
		return false
	}
	if o.epoch > r.epoch {
		*r = record{epoch: o.epoch, base: o.base, items: maps.Clone(o.items)}
		return true
	}
	news := false
	known := r.base
	defer func() {
		if news {
			r.stated = nil
		}
	}()
	if o.base > r.base {
		news = true
		r.base, known = o.base, 0
		// Items that o does not have were withdrawn by then.
		maps.DeleteFunc(r.items, func(_ item, c change) bool { return c.seq <= o.base })
	}
	for it, c := range o.items {
		if c.seq > known && c.seq > r.items[it].seq {
			r.items[it] = c
			news = true
		}
	}
	return news
}

// announces reports whether the node has announced any address.
func (r *record) announces() bool {
	for it, c := range r.items {
		if it.kind == held && !c.gone {
			return true
		}
	}
	return false
}

// latest returns the number of the latest change.
func (r *record) latest() uint64 {
	n := r.base
	for _, c := range r.items {
		n = max(n, c.seq)
	}
	return n
}

// state returns the State of the node. It stays the same, slices included, until the record
// changes: many views have it, and who compares them is done at once.
func (r *record) state() State {
	if r.stated == nil {
		s := r.statement()
		r.stated = &s
	}
	return *r.stated
}

func (r *record) statement() State {
	var s State
	said := map[uint32]bool{} // numbers of faults
	for it, c := range r.items {
		if c.gone {
			continue
		}
		switch it.kind {
		case leaving:
			s.Leaving = true
		case held:
			s.Held = append(s.Held, it.addr)
		case iface:
			s.Interfaces = append(s.Interfaces, it.name)
		case station:
			s.MACs = append(s.MACs, it.mac)
		case fault, open:
			s.Faults = append(s.Faults, Fault{it.addr, it.digest, it.kind == open})
		case whole:
			said[it.digest] = true
		}
	}
	slices.SortFunc(s.Held, netip.Addr.Compare)
	s.Judged = said[uint32(len(s.Faults))] // else some are still on their way
	slices.SortFunc(s.Faults, Fault.compare)
	slices.Sort(s.Interfaces)
	slices.SortFunc(s.MACs, func(a, b MAC) int { return bytes.Compare(a[:], b[:]) })
	return s
}
