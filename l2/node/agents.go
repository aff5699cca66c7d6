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
	lost  map[string]time.Time // agents that gossip has lost without a goodbye, and when
}

// learn takes in who is alive, and who was.
func (a *agents) learn(v members.View, nodes []*cluster.Node, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.nodes == nil {
		a.nodes, a.lost = map[l2.MAC]string{}, map[string]time.Time{}
	}
	known := make(map[string]bool, len(nodes)+len(v.Members)+len(v.Departed))
	for _, n := range nodes {
		known[n.Name] = true
	}
	for _, m := range slices.Concat(v.Departed, v.Members) {
		known[m.Name] = true
		if len(m.MACs) == 0 {
			continue // it is not known yet
		}
		maps.DeleteFunc(a.nodes, func(_ l2.MAC, node string) bool { return node == m.Name })
		for _, mac := range m.MACs {
			a.nodes[l2.MAC(mac)] = m.Name
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
	maps.DeleteFunc(a.lost, func(node string, _ time.Time) bool { return !known[node] })
}

// node returns the node that has a hardware address; empty if no agent was seen
// there.
func (a *agents) node(mac l2.MAC) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.nodes[mac]
}

// except returns the hardware addresses of all nodes but one.
func (a *agents) except(self string) []l2.MAC {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []l2.MAC
	for mac, node := range a.nodes {
		if node != self {
			out = append(out, mac)
		}
	}
	return out
}

// mayRun returns the hardware addresses of the agents that gossip has lost, and that may
// still run: their Nodes are in the cluster and do not drain, they did not say goodbye,
// and either were lost a short time ago or answer for an address.
func (a *agents) mayRun(nodes []*cluster.Node, answering map[l2.MAC]bool, now time.Time) []l2.MAC {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []l2.MAC
	for mac, node := range a.nodes {
		at, lost := a.lost[node]
		n, exists := cluster.FindNode(nodes, node)
		if lost && exists && n.Drain.IsZero() && (now.Sub(at) < lostAge || answering[mac]) {
			out = append(out, mac)
		}
	}
	return out
}
