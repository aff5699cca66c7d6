// SPDX-License-Identifier: Apache-2.0

// Package status is the report of a process: what it has decided and why, and what was
// observed to be in force.
package status

import (
	"net/netip"
	"slices"
	"time"
)

// A Protocol is a way of announcing an address.
type Protocol string

// The protocols, as MetalLB's metrics and events spell them.
const (
	BGP    Protocol = "bgp"
	Layer2 Protocol = "layer2"
)

// A Reason is why something is as it is, in one word that is the same in status, metrics,
// events and tests.
type Reason string

// Reasons of a Decision.
const (
	Announced            Reason = "Announced"
	NoAddress            Reason = "NoAddress"            // the Service has no address
	InvalidAddress       Reason = "InvalidAddress"       // its status has an address that is not valid
	NotInPool            Reason = "NotInPool"            // no pool contains its address
	NoAdvertisement      Reason = "NoAdvertisement"      // no advertisement selects the pool and the Service
	NodeNotSelected      Reason = "NodeNotSelected"      // no advertisement, or peer, selects this node
	NodeUnknown          Reason = "NodeUnknown"          // the cluster has no such Node
	NodeExcluded         Reason = "NodeExcluded"         // labelled exclude-from-external-load-balancers
	NodeDraining         Reason = "NodeDraining"         // an operator drains the node, and another node announces the address or is able to
	NodeNetworkDown      Reason = "NodeNetworkDown"      // condition NetworkUnavailable
	NoEndpoints          Reason = "NoEndpoints"          // no usable endpoint anywhere
	NoLocalEndpoints     Reason = "NoLocalEndpoints"     // externalTrafficPolicy Local, no usable endpoint on this node
	TooFewEndpoints      Reason = "TooFewEndpoints"      // fewer are ready than the advertisements ask for
	EndpointsTerminating Reason = "EndpointsTerminating" // BGP: externalTrafficPolicy Local, the endpoints on this node terminate, and other nodes have ready ones
	DataPlaneNotReady    Reason = "DataPlaneNotReady"    // the data plane of this node, such as kube-proxy, cannot serve the address yet
	ProbeFailed          Reason = "ProbeFailed"          // the probe of the advertisement fails on this node
	EndpointsFlap        Reason = "EndpointsFlap"        // endpoints came and went too often; the announcement waits for seconds
	NoPeers              Reason = "NoPeers"              // no peer of the advertisement selects this node
	ConflictingLocalPref Reason = "ConflictingLocalPref" // two advertisements, one route, two preferences
	ConflictingMED       Reason = "ConflictingMED"       // likewise, two MEDs
	ConflictingPrepend   Reason = "ConflictingPrepend"   // likewise, the path prepended differently
	Layer2Unsupported    Reason = "Layer2Unsupported"    // this agent does not answer ARP and NDP
	NoInterface          Reason = "NoInterface"          // layer 2: this node cannot answer on any interface of the advertisement
	MembersUnknown       Reason = "MembersUnknown"       // layer 2: which agents are alive is not known, yet or any more
	NotOwner             Reason = "NotOwner"             // layer 2: another node is elected
	NodeLeaving          Reason = "NodeLeaving"          // layer 2: this agent stops; another node is elected
	Switching            Reason = "Switching"            // announced until the protocol that replaces this one is in force
	HandingOver          Reason = "HandingOver"          // announced until another node was seen to announce it: the elected one on layer 2, or another one over BGP
	Conflict             Reason = "Conflict"             // layer 2: a host that is not a node has the address
	OtherLoadBalancer    Reason = "OtherLoadBalancer"    // layer 2: another load balancer, such as MetalLB, answers for the address on a node without an agent
	NodeDamped           Reason = "NodeDamped"           // layer 2: this agent came and went too often; another node is elected
)

// Reasons of a Peer, with NodeNotSelected and NodeUnknown.
const (
	Configured      Reason = "Configured"      // the node should have the session
	AddressConflict Reason = "AddressConflict" // an earlier peer has the same address or interface
	ASNConflict     Reason = "ASNConflict"     // FRR cannot use the peer's AS together with that of an earlier peer
)

// A Decision says whether a node announces an address of a Service over a
// protocol, and why. Decisions compare with reflect.DeepEqual and cmp.
type Decision struct {
	Service   string         `json:"service"` // namespace/name
	Addr      netip.Addr     `json:"addr,omitzero"`
	Pool      string         `json:"pool,omitempty"`
	Protocol  Protocol       `json:"protocol,omitempty"`
	Announce  bool           `json:"announce"`
	Confirmed bool           `json:"confirmed,omitempty"` // seen to be in force: FRR has sent the routes, or gratuitous packets were sent
	Reason    Reason         `json:"reason"`
	Detail    string         `json:"detail,omitempty"`
	Last      bool           `json:"last,omitempty"`   // the node drains and keeps this: no other node was seen to announce it
	Routes    []netip.Prefix `json:"routes,omitempty"` // BGP: what is announced for it
	Peers     []string       `json:"peers,omitempty"`  // BGP: names, sorted

	Sent       []string `json:"sent,omitempty"`       // BGP: those of Peers that were sent a route, as FRR reports
	Interfaces []string `json:"interfaces,omitempty"` // layer 2: the interfaces of the advertisements; empty: all

	// Since when Announce and Reason are as they are; not before the agent's start.
	Since time.Time `json:"since,omitzero"`
}

// Same reports whether both are the same, whenever they were made.
func (d Decision) Same(o Decision) bool {
	return d.Service == o.Service && d.Addr == o.Addr && d.Pool == o.Pool && d.Protocol == o.Protocol &&
		d.Announce == o.Announce && d.Confirmed == o.Confirmed && d.Reason == o.Reason && d.Detail == o.Detail && d.Last == o.Last &&
		slices.Equal(d.Routes, o.Routes) && slices.Equal(d.Peers, o.Peers) &&
		slices.Equal(d.Sent, o.Sent) && slices.Equal(d.Interfaces, o.Interfaces)
}
