// SPDX-License-Identifier: Apache-2.0

package status

import (
	"net/netip"
	"time"
)

// A Network says how far a node answers for addresses on its own network.
type Network struct {
	Stale      bool              `json:"stale"` // who is alive is not known; nothing is answered
	Members    []Member          `json:"members,omitempty"`
	Addresses  []Address         `json:"addresses,omitempty"`
	Interfaces []Interface       `json:"interfaces,omitempty"`
	Requests   map[string]uint64 `json:"requests,omitempty"` // received packets by what became of them: Answered, or why not
}

// A Member is a node whose agent is alive.
type Member struct {
	Node    string `json:"node"`
	Leaving bool   `json:"leaving,omitempty"` // it stops soon
	Damped  bool   `json:"damped,omitempty"`  // it came and went too often to own addresses for a while
	Held    int    `json:"held"`              // addresses that it announces
}

// An Address is how far one address is announced on layer 2.
type Address struct {
	Addr       netip.Addr `json:"addr"`
	On         []Presence `json:"on,omitempty"`       // none: no interface serves it
	Confirmed  bool       `json:"confirmed"`          // its first gratuitous packets were sent
	Conflict   string     `json:"conflict,omitempty"` // hardware address of a host, none of ours, that has it
	Rival      string     `json:"rival,omitempty"`    // node on which another load balancer answers for it
	Requests   uint64     `json:"requests"`
	Replies    uint64     `json:"replies"`
	Gratuitous uint64     `json:"gratuitous"` // packets that nobody asked for
}

// A Presence is an address on an interface.
type Presence struct {
	Interface string    `json:"interface"`
	Phase     string    `json:"phase"` // Announced, Quiet, Probing, Refused, Silent or Deferred
	Since     time.Time `json:"since"`
}

// An Interface is a network interface of the node, and why it does not serve
// IPv4 (ARP) or IPv6 (NDP): Suitable if it does.
type Interface struct {
	Name  string `json:"name"`
	MAC   string `json:"mac"`
	ARP   string `json:"arp"`
	NDP   string `json:"ndp"`
	Error string `json:"error,omitempty"`
}
