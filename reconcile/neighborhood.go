// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// A Neighborhood is what an agent knows of its own network.
type Neighborhood struct {
	announce.Membership
	Gaps      int      // how often the agent did not run for a while
	Asked     bool     // other nodes want to know what this one has sent
	Leaving   bool     // this agent stops
	Answered  Answered // what this node was seen to answer for
	Conflicts map[netip.Addr]Conflict
}

// Answered are the addresses that a node was seen to answer for, and the interfaces of each,
// by name. It is read-only.
type Answered = table.Table[netip.Addr, []string]

// A Conflict is a host without an agent that has an address of a Service.
type Conflict struct {
	Node    string // the node of the cluster that it is, which has no agent: another load balancer runs there; empty: a stranger
	By      string // a stranger's hardware address
	On      string // the interface that it was heard on
	More    int    // how many more strangers claim the address
	Refused bool   // this node does not answer for the address because of it
}

// String returns which host has the address.
func (c Conflict) String() string {
	switch {
	case c.Node != "" && c.Refused:
		return fmt.Sprintf("another load balancer answers for the address on node %s, which has no agent; this node takes over when that one is silent", c.Node)
	case c.Node != "":
		return fmt.Sprintf("another load balancer answers for the address too, on node %s, which has no agent; stop it there", c.Node)
	}
	text := fmt.Sprintf("%s on %s has the address", c.By, c.On)
	if c.More > 0 {
		text += fmt.Sprintf("; hosts that claim it: %d", c.More+1)
	}
	return text
}

// A dispute is a Conflict as it is told about: once for the same Service, address and
// kind of host, however many claim the address.
type dispute struct {
	service string
	addr    netip.Addr
	node    string // empty: a stranger
	refused bool
}

// reason returns the reason of a decision not to answer because of it.
func (c Conflict) reason() status.Reason {
	if c.Node != "" {
		return status.OtherLoadBalancer
	}
	return status.Conflict
}

// loud reports whether it needs a warning. To leave an address to another load balancer
// for a while does not: that is how Herald replaces one.
func (c Conflict) loud() bool { return c.Node == "" || !c.Refused }

// noteConflicts adds to decisions which other host has the address. Where that is what was
// decided before, the list stays the same.
func noteConflicts(all, before announce.Decisions, conflicts map[netip.Addr]Conflict) announce.Decisions {
	if len(conflicts) == 0 {
		return all
	}
	noted := all.Edit()
	for key, of := range all.All() {
		if now := slices.Clone(of); noteConflict(now, conflicts) {
			if was, ok := before.Get(key); ok && slices.EqualFunc(was, now, status.Decision.Same) {
				now = was
			}
			noted.Set(key, now)
		}
	}
	return noted.Table()
}

// noteConflict adds to decisions which other host has the address, and reports whether one
// has.
func noteConflict(decisions []status.Decision, conflicts map[netip.Addr]Conflict) (noted bool) {
	for i := range decisions {
		d := &decisions[i]
		c, ok := conflicts[d.Addr]
		if !ok || d.Protocol != status.Layer2 || !d.Announce {
			continue
		}
		noted = true
		d.Detail = c.String()
		if c.Refused {
			d.Announce, d.Reason = false, c.reason()
		}
	}
	return noted
}
