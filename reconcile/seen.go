// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"net/netip"
	"reflect"
	"slices"
	"sync"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// A SeenMemory finds the same as Seen.ServiceStatuses, and looks only at Services about
// which something has changed. The zero value is ready. Its method is safe for concurrent
// use: who publishes statuses looks when it has time.
type SeenMemory struct {
	mu       sync.Mutex // guards the fields below
	seen     Seen
	statuses table.Editor[cluster.Key, []ServiceStatus]
}

// Next returns what a node was seen to announce.
func (m *SeenMemory) Next(now Seen) ServiceStatuses {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key := range m.dirty(now) {
		of := now.of(key)
		was, had := m.statuses.Get(key)
		switch {
		case len(of) == 0:
			m.statuses.Delete(key)
		case !had || !SameStatuses(was, of):
			m.statuses.Set(key, of)
		}
	}
	m.seen = now
	return m.statuses.Table()
}

// dirty returns the Services to look at.
func (m *SeenMemory) dirty(now Seen) map[cluster.Key]bool {
	keys := map[cluster.Key]bool{}
	for c := range table.Diff(m.seen.Decisions, now.Decisions, announce.SameList) {
		keys[c.Key] = true
	}
	all := m.seen.Node != now.Node || !samePeers(m.seen.Peers, now.Peers)
	routes, addrs := map[netip.Prefix]bool{}, map[netip.Addr]bool{}
	for c := range table.Diff(m.seen.Sent, now.Sent, slices.Equal) {
		routes[c.Key] = true
	}
	for c := range table.Diff(m.seen.Answered, now.Answered, slices.Equal) {
		addrs[c.Key] = true
	}
	if !all && len(routes)+len(addrs) == 0 {
		return keys
	}
	concerns := func(d status.Decision) bool {
		return addrs[d.Addr] || slices.ContainsFunc(d.Routes, func(r netip.Prefix) bool { return routes[r] })
	}
	for key, of := range now.Decisions.All() {
		if all || slices.ContainsFunc(of, concerns) {
			keys[key] = true
		}
	}
	return keys
}

// samePeers reports whether two lists are equal.
func samePeers(a, b []status.Peer) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || reflect.DeepEqual(a, b))
}
