// SPDX-License-Identifier: Apache-2.0

package node

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/l2/members"
)

// lostAge is how long an agent that gossip has lost counts as one that may still run.
// Once it has answered for an address, it counts for as long as it answers.
const lostAge = 10 * time.Minute

// agents remembers the nodes on which an agent was ever seen, by their hardware
// addresses, while the cluster has these nodes. The zero value has seen none. Its methods
// are safe for concurrent use.
type agents struct {
	mu    sync.Mutex // guards the fields below
	nodes map[l2.MAC]string
	macs  map[string][]members.MAC // of each node in nodes
	lost  map[string]time.Time     // agents that gossip has lost without a goodbye, and when

	// What was learned last.
	version    int // how often that was
	generation uint64
	of         []*cluster.Node
}

// learn takes in who is alive, and who was.
func (a *agents) learn(v members.View, nodes []*cluster.Node, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.nodes == nil {
		a.nodes, a.macs, a.lost = map[l2.MAC]string{}, map[string][]members.MAC{}, map[string]time.Time{}
	} else if a.generation == v.Generation && slices.Equal(a.of, nodes) {
		return
	}
	a.version, a.generation, a.of = a.version+1, v.Generation, nodes
	known := make(map[string]bool, len(nodes)+len(v.Members)+len(v.Departed))
	for _, n := range nodes {
		known[n.Name] = true
	}
	for _, m := range slices.Concat(v.Departed, v.Members) {
		known[m.Name] = true
		if len(m.MACs) > 0 { // else it is not known yet
			a.settle(m.Name, m.MACs)
		}
	}
	for _, m := range v.Departed {
		if _, is := a.lost[m.Name]; !is && !m.Leaving {
			a.lost[m.Name] = now
		} else if m.Leaving {
			delete(a.lost, m.Name)
		}
	}
	for _, m := range v.Members {
		delete(a.lost, m.Name)
	}
	maps.DeleteFunc(a.nodes, func(_ l2.MAC, node string) bool { return !known[node] })
	maps.DeleteFunc(a.macs, func(node string, _ []members.MAC) bool { return !known[node] })
	maps.DeleteFunc(a.lost, func(node string, _ time.Time) bool { return !known[node] })
}

// settle replaces the hardware addresses of a node. The last one that claims an address
// has it. The caller holds mu.
func (a *agents) settle(node string, now []members.MAC) {
	if slices.Equal(a.macs[node], now) && !slices.ContainsFunc(now, func(mac members.MAC) bool { return a.nodes[l2.MAC(mac)] != node }) {
		return
	}
	for _, mac := range a.macs[node] {
		if a.nodes[l2.MAC(mac)] == node {
			delete(a.nodes, l2.MAC(mac))
		}
	}
	for _, mac := range now {
		a.nodes[l2.MAC(mac)] = node
	}
	a.macs[node] = now
}

// node returns the node that has a hardware address; empty if no agent was seen
// there.
func (a *agents) node(mac l2.MAC) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.nodes[mac]
}

// except returns the hardware addresses of all nodes but one, and how often something was
// learned before.
func (a *agents) except(self string) (out []l2.MAC, version int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for mac, node := range a.nodes {
		if node != self {
			out = append(out, mac)
		}
	}
	return out, a.version
}

// learned returns how often something was learned.
func (a *agents) learned() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.version
}

// mayRun returns the hardware addresses of the agents that gossip has lost, and that may
// still run: their Nodes are in the cluster and do not drain, they did not say goodbye,
// and either were lost a short time ago or answer for an address.
func (a *agents) mayRun(nodes []*cluster.Node, answering map[l2.MAC]bool, now time.Time) []l2.MAC {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.lost) == 0 {
		return nil
	}
	var out []l2.MAC
	for mac, node := range a.nodes {
		at, lost := a.lost[node]
		if !lost {
			continue
		}
		n, exists := cluster.FindNode(nodes, node)
		if exists && n.Drain.IsZero() && (now.Sub(at) < lostAge || answering[mac]) {
			out = append(out, mac)
		}
	}
	return out
}
