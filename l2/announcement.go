// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"net/netip"
	"slices"
)

// An Announcement is an address that this node announces.
type Announcement struct {
	Addr       netip.Addr
	Interfaces []string // exact names; empty means every suitable interface

	// Fresh says that no agent held the address until now: any host that answers a
	// probe for it is a stranger. It only matters when the address is announced on an
	// interface for the first time.
	Fresh bool

	// Quiet answers requests but sends no announcements: the owner of the address
	// changes, and neighbors are to learn the successor. The successor's announcements
	// are reported in Address.TakenBy.
	Quiet bool

	// Standby names interfaces on which another host has the address. Nothing is announced
	// there, and only questions are answered that were sent to this node alone, or that a
	// host repeats because it got no answer. The other host is reported in Address.TakenBy.
	Standby []string

	// Round announces the address from the beginning when it changes: neighbors may
	// have learned another owner in the meantime.
	Round uint64
}

// passive reports whether no announcements are sent, on some interface at least.
func (a Announcement) passive() bool { return a.Quiet || len(a.Standby) > 0 }

// left reports whether the address is left to another host on the interface of that name.
func (a Announcement) left(name string) bool { return slices.Contains(a.Standby, name) }

// on reports whether the address is wanted on the interface of that name.
func (a Announcement) on(name string) bool {
	return len(a.Interfaces) == 0 || slices.Contains(a.Interfaces, name)
}

func (a Announcement) equal(b Announcement) bool {
	return a.Addr == b.Addr && a.Fresh == b.Fresh && a.Quiet == b.Quiet && a.Round == b.Round && slices.Equal(a.Interfaces, b.Interfaces) && slices.Equal(a.Standby, b.Standby)
}

// byAddress indexes announcements by address. Several of one address are merged. Those
// without a usable address are left out.
func byAddress(list []Announcement) map[netip.Addr]Announcement {
	out := make(map[netip.Addr]Announcement, len(list))
	for _, a := range list {
		a.Addr = a.Addr.Unmap()
		if !a.Addr.IsValid() || a.Addr.Zone() != "" || a.Addr.IsUnspecified() || a.Addr.IsMulticast() {
			continue
		}
		a.Interfaces = slices.Compact(slices.Sorted(slices.Values(a.Interfaces)))
		if b, twice := out[a.Addr]; twice {
			a = merge(a, b)
		}
		out[a.Addr] = a
	}
	return out
}

// merge returns the announcement that covers two announcements of one address.
func merge(a, b Announcement) Announcement {
	a.Fresh = a.Fresh && b.Fresh
	a.Quiet = a.Quiet && b.Quiet
	a.Standby = slices.DeleteFunc(slices.Clone(a.Standby), func(name string) bool { return !b.left(name) })
	a.Round = max(a.Round, b.Round)
	if len(a.Interfaces) == 0 || len(b.Interfaces) == 0 {
		a.Interfaces = nil
	} else {
		both := append(slices.Clone(a.Interfaces), b.Interfaces...)
		slices.Sort(both)
		a.Interfaces = slices.Compact(both)
	}
	return a
}
