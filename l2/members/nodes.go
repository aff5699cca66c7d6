// SPDX-License-Identifier: Apache-2.0

package members

import (
	"iter"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// grace is how long a node that was removed still counts: a Node may be registered again.
const grace = time.Minute

// A Node is one of the cluster, on which an agent may run.
type Node struct {
	Name  string
	Addrs []netip.Addr // the agent is tried at the first one of its family
}

// nodes are those of the cluster, as SetNodes was told. The List's mutex guards them.
type nodes struct {
	known bool // SetNodes was called
	list  []Node
	names map[string]bool // of list and gone
	gone  map[string]departedNode
	// moved are the addresses of members: an agent may be bound to an address of its
	// machine that its Node does not list.
	moved map[string]netip.Addr
}

// A departedNode was removed a moment ago.
type departedNode struct {
	addrs []netip.Addr
	at    time.Time
}

func newNodes() nodes {
	return nodes{gone: map[string]departedNode{}, moved: map[string]netip.Addr{}}
}

// SetNodes replaces the nodes of the cluster, this one included. Gossip is taken from
// their addresses alone. The agents of others that are not members are tried at once and
// every few seconds. Until the first call nothing is taken, and the view is stale.
func (l *List) SetNodes(list []Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nodes.known && slices.EqualFunc(list, l.nodes.list, sameNode) {
		return
	}
	l.nodes.replace(list, time.Now())
	l.admit()
	l.joinWake.Set()
}

// Refused returns what was refused so far because it is not from a Node.
func (l *List) Refused() Refused { return l.gate.refused() }

// admit opens the gate for the nodes. The caller holds the mutex.
func (l *List) admit() { l.gate.set(l.nodes.addrs()) }

func sameNode(a, b Node) bool { return a.Name == b.Name && slices.Equal(a.Addrs, b.Addrs) }

// replace replaces the nodes.
func (n *nodes) replace(list []Node, now time.Time) {
	for _, was := range n.list {
		n.gone[was.Name] = departedNode{was.Addrs, now}
	}
	for _, is := range list {
		delete(n.gone, is.Name)
	}
	n.list, n.known = slices.Clone(list), true
	n.index()
}

// index brings names up to date, and forgets where the agents of other nodes are.
func (n *nodes) index() {
	n.names = make(map[string]bool, len(n.list)+len(n.gone))
	for _, one := range n.list {
		n.names[one.Name] = true
	}
	for name := range n.gone {
		n.names[name] = true
	}
	maps.DeleteFunc(n.moved, func(name string, _ netip.Addr) bool { return !n.names[name] })
}

// expire forgets nodes that were removed long ago, and reports whether there were any.
func (n *nodes) expire(now time.Time) bool {
	before := len(n.gone)
	maps.DeleteFunc(n.gone, func(_ string, d departedNode) bool { return now.Sub(d.at) >= grace })
	if len(n.gone) == before {
		return false
	}
	n.index()
	return true
}

// addrs returns all addresses.
func (n *nodes) addrs() map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	for _, one := range n.list {
		for _, a := range one.Addrs {
			out[a.Unmap()] = true
		}
	}
	for _, d := range n.gone {
		for _, a := range d.addrs {
			out[a.Unmap()] = true
		}
	}
	for _, a := range n.moved {
		out[a] = true
	}
	return out
}

// peers returns where the agents of other nodes are tried, by node. An agent is in the
// network of its node, and listens on the same port as this one.
func (n *nodes) peers(self string, bind netip.AddrPort) iter.Seq2[string, netip.AddrPort] {
	return func(yield func(string, netip.AddrPort) bool) {
		for _, one := range n.list {
			i := slices.IndexFunc(one.Addrs, func(a netip.Addr) bool { return a.Is4() == bind.Addr().Is4() })
			if one.Name != self && i >= 0 && !yield(one.Name, netip.AddrPortFrom(one.Addrs[i], bind.Port())) {
				return
			}
		}
	}
}
