// SPDX-License-Identifier: Apache-2.0

package node

import (
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/table"
)

// A hearing follows what the announcer has seen, and looks only at what has changed. Its
// methods are safe for concurrent use.
type hearing struct {
	mu    sync.Mutex // guards the fields below
	seen  l2.Seen
	heard heard
}

// A heard is what decisions, other agents and reports need of what was seen. It is immutable
// and may be shared.
type heard struct {
	answered  table.Table[netip.Addr, []string] // addresses that the node was seen to answer for, with the interfaces
	held      []netip.Addr                      // the same addresses, in order
	conflicts map[netip.Addr]reconcile.Conflict // that another host has
	contended map[netip.Addr]*l2.Address        // that agents answer for which gossip has lost
}

// next takes in what is seen now.
func (h *hearing) next(seen func() l2.Seen) heard {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := seen() // never older than that of the last call
	next, answered, others := h.heard, h.heard.answered.Edit(), false
	for c := range table.Diff(h.seen.Addresses, now.Addresses, table.Same) {
		if c.After == nil || !(*c.After).Confirmed {
			answered.Delete(c.Key)
		} else if on := (*c.After).AnsweredOn(); !has(answered, c.Key, on) {
			answered.Set(c.Key, on)
		}
		others = others || disputed(c.Before) || disputed(c.After)
	}
	h.seen = now
	next.answered = answered.Table()
	if !sameKeys(next.answered, h.heard.answered) {
		next.held = make([]netip.Addr, 0, next.answered.Len())
		for addr := range next.answered.All() {
			next.held = append(next.held, addr)
		}
	}
	if others {
		next.conflicts, next.contended = nil, nil
		for addr, a := range now.Addresses.All() {
			if c, is := conflictOf(a); is {
				next.conflicts = with(next.conflicts, addr, c)
			}
			if len(a.Contenders) > 0 {
				next.contended = with(next.contended, addr, a)
			}
		}
	}
	h.heard = next
	return next
}

func has(in *table.Editor[netip.Addr, []string], addr netip.Addr, on []string) bool {
	was, is := in.Get(addr)
	return is && slices.Equal(was, on)
}

func sameKeys(a, b table.Table[netip.Addr, []string]) bool {
	for c := range table.Diff(a, b, slices.Equal) {
		if c.Before == nil || c.After == nil {
			return false
		}
	}
	return true
}

func with[V any](m map[netip.Addr]V, addr netip.Addr, v V) map[netip.Addr]V {
	if m == nil {
		m = map[netip.Addr]V{}
	}
	m[addr] = v
	return m
}

// disputed reports whether another host was heard that has an address.
func disputed(a **l2.Address) bool {
	if a == nil {
		return false
	}
	_, conflict := conflictOf(*a)
	return conflict || len((*a).Contenders) > 0
}

// conflictOf returns the host without an agent that has an address, and whether there is
// one: a stranger, or a node of the cluster with another load balancer.
func conflictOf(a *l2.Address) (reconcile.Conflict, bool) {
	if a.Conflict == (l2.Claim{}) && a.Rival == (l2.Rival{}) {
		return reconcile.Conflict{}, false
	}
	return reconcile.Conflict{
		By:   a.Conflict.MAC.String(),
		On:   a.Conflict.Interface,
		Node: a.Rival.Node,
		More: max(0, a.Claimants-1),
		Refused: slices.ContainsFunc(a.Presences, func(p l2.Presence) bool { return p.Phase == l2.Deferred }) ||
			!slices.ContainsFunc(a.Presences, func(p l2.Presence) bool { return p.Phase == l2.Announced || p.Phase == l2.Quiet }),
	}, true
}

// claims returns the nodes that are not alive, as far as gossip knows, but answer for an
// address.
func (h heard) claims(nodeOf func(l2.MAC) string, alive map[string]bool) (out map[netip.Addr][]announce.Claim) {
	for addr, a := range h.contended {
		for _, c := range a.Contenders {
			if node := nodeOf(c.MAC); node != "" && !alive[node] {
				out = with(out, addr, append(out[addr], announce.Claim{Node: node, At: c.At}))
			}
		}
	}
	return out
}

// answering returns the hardware addresses of agents that gossip has lost, and that answer
// for an address.
func (h heard) answering() map[l2.MAC]bool {
	out := map[l2.MAC]bool{}
	for a := range maps.Values(h.contended) {
		for _, c := range a.Contenders {
			out[c.MAC] = true
		}
	}
	return out
}
