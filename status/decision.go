// SPDX-License-Identifier: Apache-2.0

// Package status is the report of what is true: what was decided and why, and
// what was seen to be in force.
package status

import "net/netip"

// A Protocol is a way of announcing an address.
type Protocol string

// The protocols, as MetalLB's metrics and events spell them.
const (
	BGP    Protocol = "bgp"
	Layer2 Protocol = "layer2"
)

// A Reason says why something is as it is, in one word that is the same in
// status, metrics, events and tests.
type Reason string

// Reasons of a Decision.
const (
	Announced            Reason = "Announced"
	NoAddress            Reason = "NoAddress"            // the Service holds none
	InvalidAddress       Reason = "InvalidAddress"       // its status holds something that is no address
	NotInPool            Reason = "NotInPool"            // no pool contains its address
	NoAdvertisement      Reason = "NoAdvertisement"      // none selects the pool and the Service
	NodeNotSelected      Reason = "NodeNotSelected"      // none of them selects this node
	NodeUnknown          Reason = "NodeUnknown"          // the cluster has no such Node
	NodeExcluded         Reason = "NodeExcluded"         // labelled exclude-from-external-load-balancers
	NodeDraining         Reason = "NodeDraining"         // an operator drains it, and another node was seen to announce the address, or is able to
	NodeNetworkDown      Reason = "NodeNetworkDown"      // condition NetworkUnavailable
	NoEndpoints          Reason = "NoEndpoints"          // no usable endpoint anywhere
	NoLocalEndpoints     Reason = "NoLocalEndpoints"     // externalTrafficPolicy Local, none on this node
	NoPeers              Reason = "NoPeers"              // no peer of the advertisement runs on this node
	ConflictingLocalPref Reason = "ConflictingLocalPref" // two advertisements, one route, two preferences
	ConflictingMED       Reason = "ConflictingMED"       // likewise, two MEDs
	ConflictingPrepend   Reason = "ConflictingPrepend"   // likewise, the path prepended differently
	Layer2Unsupported    Reason = "Layer2Unsupported"    // this agent does not answer ARP and NDP
	NoInterface          Reason = "NoInterface"          // layer 2: this node cannot answer on any interface of the advertisement
	MembersUnknown       Reason = "MembersUnknown"       // layer 2: which agents are alive is not known yet, or not any more
	NotOwner             Reason = "NotOwner"             // layer 2: another node is elected
	NodeLeaving          Reason = "NodeLeaving"          // layer 2: this agent stops, another node is elected
	Switching            Reason = "Switching"            // announced until the protocol that replaces this one is in force
	HandingOver          Reason = "HandingOver"          // announced until another node was seen to announce it: the one elected on layer 2, or one that is to over BGP
	Conflict             Reason = "Conflict"             // layer 2: a host that is none of ours has the address
	OtherLoadBalancer    Reason = "OtherLoadBalancer"    // layer 2: MetalLB, say, answers for the address on a node without an agent
	NodeDamped           Reason = "NodeDamped"           // layer 2: this agent came and went too often, another node is elected
)

// Reasons of a Peer, with NodeNotSelected and NodeUnknown.
const (
	Configured      Reason = "Configured"      // the node is to hold the session
	AddressConflict Reason = "AddressConflict" // an earlier peer has the same address or interface
	ASNConflict     Reason = "ASNConflict"     // FRR cannot show the peer its AS besides an earlier peer's
)

// A Decision says whether a node announces an address of a Service over a
// protocol, and why. Decisions compare with reflect.DeepEqual and cmp.
type Decision struct {
	Service   string         `json:"service"` // namespace/name
	Addr      netip.Addr     `json:"addr,omitzero"`
	Pool      string         `json:"pool,omitempty"`
	Protocol  Protocol       `json:"protocol,omitempty"`
	Announce  bool           `json:"announce"`
	Confirmed bool           `json:"confirmed,omitempty"` // seen to be in force: FRR has sent the routes, or the network was told
	Reason    Reason         `json:"reason"`
	Detail    string         `json:"detail,omitempty"`
	Last      bool           `json:"last,omitempty"`   // the node drains, and this stays: no other node was seen to announce it
	Routes    []netip.Prefix `json:"routes,omitempty"` // BGP: what is announced for it
	Peers     []string       `json:"peers,omitempty"`  // BGP: names, sorted

	Sent       []string `json:"sent,omitempty"`       // BGP: those of Peers that were seen to have been sent a route
	Interfaces []string `json:"interfaces,omitempty"` // layer 2: where the advertisements have it answered, if they name any
}
