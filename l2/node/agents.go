// SPDX-License-Identifier: Apache-2.0

package node

import (
	"slices"
	"sync"

	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/l2/members"
)

// agents remembers the nodes on which an agent was ever seen, by their hardware
// addresses. The zero value has seen none. Its methods are safe for concurrent use.
type agents struct {
	mu    sync.Mutex // guards nodes
	nodes map[l2.MAC]string
}

// learn takes in who is alive, and who was.
func (a *agents) learn(v members.View) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.nodes == nil {
		a.nodes = map[l2.MAC]string{}
	}
	for _, m := range slices.Concat(v.Departed, v.Members) {
		for _, mac := range m.MACs {
			a.nodes[l2.MAC(mac)] = m.Name
		}
	}
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
