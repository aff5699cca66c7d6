// SPDX-License-Identifier: Apache-2.0

package status

import (
	"net/netip"
	"time"
)

// A Network is how a node announces addresses on its own network.
type Network struct {
	Stale      bool              `json:"stale"` // which agents are alive is not known: the node answers nothing
	Members    []Member          `json:"members,omitempty"`
	Gossip     *Gossip           `json:"gossip,omitempty"` // nil: there is none
	Addresses  []Address         `json:"addresses,omitempty"`
	Interfaces []Interface       `json:"interfaces,omitempty"`
	Requests   map[string]uint64 `json:"requests,omitempty"` // received packets by result: Answered, or the reason why not
	Claims     map[string]uint64 `json:"claims,omitempty"`   // packets that give an address to a node, by result: confirmed, unanswered or forged
}

// A Member is a node whose agent is alive.
type Member struct {
	Node    string `json:"node"`
	Leaving bool   `json:"leaving,omitempty"` // it stops soon
	Damped  bool   `json:"damped,omitempty"`  // it came and went too often, and owns no addresses for a while
	Held    int    `json:"held"`              // how many addresses it announces

	Address netip.AddrPort `json:"address,omitzero"`  // where gossip reaches it
	Version string         `json:"version,omitempty"` // of the agent; empty: it does not say
	Started time.Time      `json:"started,omitzero"`  // when its agent began, by its clock
	Since   time.Time      `json:"since,omitzero"`    // since when this agent has it as alive
}

// A Gossip is the state of the gossip among agents. What is refused is not read.
type Gossip struct {
	RefusedPackets     uint64   `json:"refusedPackets"`       // not from a Node's address, or lost at the socket
	RefusedConnections uint64   `json:"refusedConnections"`   // not from a Node's address, or too many
	Keys               int      `json:"keys"`                 // accepted; more than one while a key is replaced; 0: clear text
	KeyLacking         []string `json:"keyLacking,omitempty"` // members that do not accept the newest key yet
	KeyError           string   `json:"keyError,omitempty"`   // why the files of the key were not read again
	LostByHeartbeats   uint64   `json:"lostByHeartbeats"`     // agents declared dead without a goodbye: their watchers got no heartbeats
	LostByProbes       uint64   `json:"lostByProbes"`         // the same: they did not answer probes
	Returned           uint64   `json:"returned"`             // of both: they had not ended
	UntoldProbes       int      `json:"untoldProbes"`         // probes that are not answered here, and that other agents are not told of: there are too many
}

// An Address is the state of one address on layer 2.
type Address struct {
	Addr       netip.Addr `json:"addr"`
	On         []Presence `json:"on,omitempty"`            // empty: no interface serves it
	Confirmed  bool       `json:"confirmed"`               // its first gratuitous packets were sent
	Conflict   string     `json:"conflict,omitempty"`      // hardware address of a host that is not a node and has it
	ConflictAt *Claim     `json:"conflictClaim,omitempty"` // the last claim of such a host; nil: none lately
	TakenBy    *Claim     `json:"takenBy,omitempty"`       // the last claim of another agent's node; while this one probes or waits, of any host; nil: none
	Contenders []string   `json:"contenders,omitempty"`    // nodes that gossip has lost, and that answer for it
	Rival      string     `json:"rival,omitempty"`         // node on which another load balancer answers for it
	Requests   uint64     `json:"requests"`
	Replies    uint64     `json:"replies"`
	Gratuitous uint64     `json:"gratuitous"` // gratuitous packets sent
}

// A Claim is a packet in which another host said that it has an address.
type Claim struct {
	MAC       string    `json:"mac"`
	Node      string    `json:"node,omitempty"` // whose agent it is; empty: none is known
	Interface string    `json:"interface"`      // on which it was heard
	At        time.Time `json:"at"`             // when it was heard last
}

// A Presence is an address on an interface.
type Presence struct {
	Interface string    `json:"interface"`
	Phase     string    `json:"phase"` // Announced, Quiet, Probing, Refused, Standby or Deferred
	Since     time.Time `json:"since"`
}

// An Interface is a network interface of the node. For IPv4 (ARP) and IPv6 (NDP) it has
// Suitable, or the reason why it does not serve them.
type Interface struct {
	Name  string `json:"name"`
	MAC   string `json:"mac"`
	ARP   string `json:"arp"`
	NDP   string `json:"ndp"`
	Error string `json:"error,omitempty"`
}
