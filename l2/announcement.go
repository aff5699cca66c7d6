// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"net/netip"
	"slices"
)

// An Announcement is an address that this node is to answer for.
type Announcement struct {
	Addr       netip.Addr
	Interfaces []string // exact names; empty means every suitable interface

	// Fresh says that no agent of ours held the address until now, so that
	// whoever answers a probe for it is a stranger. It matters when the address
	// is announced on an interface for the first time, and not afterwards.
	Fresh bool

	// Quiet answers requests and sends nothing unasked: the owner of the
	// address is being changed, and its successor is to be heard. What the
	// successor announces is reported in Address.TakenBy.
	Quiet bool

	// Silent neither answers nor announces. Who else does is reported in
	// Address.TakenBy.
	Silent bool

	// Round, when it is another number than before, announces the address from
	// the beginning: neighbors may have learned of another owner meanwhile.
	Round uint64
}

// passive reports whether nothing is sent unasked.
func (a Announcement) passive() bool { return a.Quiet || a.Silent }

// on reports whether the address is wanted on the interface of that name.
func (a Announcement) on(name string) bool {
	return len(a.Interfaces) == 0 || slices.Contains(a.Interfaces, name)
}

func (a Announcement) equal(b Announcement) bool {
	return a.Addr == b.Addr && a.Fresh == b.Fresh && a.Quiet == b.Quiet && a.Silent == b.Silent && a.Round == b.Round && slices.Equal(a.Interfaces, b.Interfaces)
}

// byAddress indexes announcements. Several of one address become one that does
// what any of them asks for. Those without a usable address are left out.
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

// merge returns what two announcements of one address ask for together.
func merge(a, b Announcement) Announcement {
	a.Fresh = a.Fresh && b.Fresh
	a.Quiet = a.Quiet && b.Quiet
	a.Silent = a.Silent && b.Silent
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
