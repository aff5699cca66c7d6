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

	stated *State              // what state returned; nil: to be made
	since  map[netip.Addr]bool // addresses that were stated or withdrawn since then
}

// set sets the items of r, the node's own record, and returns the changes.
func (r *record) set(want map[item]bool) map[item]change {
	differ := map[item]bool{}
	for it := range want {
		if _, ok := r.items[it]; !ok {
			differ[it] = true
		}
	}
	for it := range r.items {
		if !want[it] {
			differ[it] = false
		}
	}
	return r.edit(differ)
}

// setState is set for a State, whose addresses are in order. Of many it looks up only those
// that have changed.
func (r *record) setState(s State) map[item]change {
	before, now := r.state(), s.Held
	rest, was := s, before
	rest.Held, was.Held = nil, nil
	want, had := rest.items(), was.items()
	differ := map[item]bool{}
	for it := range want {
		if !had[it] {
			differ[it] = true
		}
	}
	for it := range had {
		if !want[it] {
			differ[it] = false
		}
	}
	for old := before.Held; len(old)+len(now) > 0; {
		switch {
		case len(old) > 0 && len(now) > 0 && old[0] == now[0]:
			old, now = old[1:], now[1:]
		case len(now) == 0 || len(old) > 0 && old[0].Less(now[0]):
			differ[item{kind: held, addr: old[0]}] = false
			old = old[1:]
		default:
			differ[item{kind: held, addr: now[0]}] = true
			now = now[1:]
		}
	}
	return r.edit(differ)
}

// edit states or withdraws items of the node's own record, and returns the changes.
func (r *record) edit(items map[item]bool) map[item]change {
	if len(items) == 0 {
		return nil
	}
	changes := make(map[item]change, len(items))
	r.base++
	for it, is := range items {
		c := change{seq: r.base, gone: !is}
		if changes[it] = c; is {
			r.items[it] = c
		} else {
			delete(r.items, it)
		}
		r.note(it, is)
	}
	return changes
}

// note takes note that an item was stated or withdrawn.
func (r *record) note(it item, is bool) {
	switch {
	case r.stated == nil:
	case it.kind != held:
		r.stated, r.since = nil, nil
	default:
		if r.since == nil {
			r.since = map[netip.Addr]bool{}
		}
		r.since[it.addr] = is
	}
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
	news, known, replaced := false, r.base, uint64(0)
	if o.base > r.base {
		news = true
		r.base, known, replaced = o.base, 0, o.base
		// Items that o does not have were withdrawn by then.
		maps.DeleteFunc(r.items, func(it item, c change) bool {
			gone := c.seq <= o.base && o.items[it].seq == 0
			if gone && !c.gone {
				r.note(it, false)
			}
			return gone
		})
	}
	for it, c := range o.items {
		was, had := r.items[it]
		if c.seq <= known || c.seq <= was.seq && was.seq > replaced {
			continue
		}
		if news, r.items[it] = true, c; (had && !was.gone) == c.gone {
			r.note(it, !c.gone)
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
	switch {
	case r.stated == nil:
		s := r.statement()
		r.stated = &s
	case len(r.since) > 0:
		s := *r.stated
		s.Held = withAddrs(s.Held, r.since)
		r.stated = &s
	}
	r.since = nil
	return *r.stated
}

// withAddrs returns a list of addresses, in order, with some of them, and without others.
func withAddrs(list []netip.Addr, changes map[netip.Addr]bool) []netip.Addr {
	out := make([]netip.Addr, 0, len(list)+len(changes))
	for _, addr := range slices.SortedFunc(maps.Keys(changes), netip.Addr.Compare) {
		n, has := slices.BinarySearchFunc(list, addr, netip.Addr.Compare)
		out, list = append(out, list[:n]...), list[n:]
		if has {
			list = list[1:]
		}
		if changes[addr] {
			out = append(out, addr)
		}
	}
	if out = append(out, list...); len(out) == 0 {
		return nil
	}
	return out
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
