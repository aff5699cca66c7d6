// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"net/netip"

	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
)

// LabelExcludeNode on a Node, whatever its value, keeps the node from
// announcing anything.
const LabelExcludeNode = "node.kubernetes.io/exclude-from-external-load-balancers"

// AnnounceOptions say what Announce leaves aside.
type AnnounceOptions struct {
	Class           string // optional: spec.loadBalancerClass of the Services to announce
	IgnoreExcludeLB bool   // optional: LabelExcludeNode has no meaning
	Layer2          bool   // optional: layer 2 is decided about by AnnounceLayer2

	// Members are required if a node may drain: what it announces it leaves only to
	// nodes whose agents are known to be alive.
	Members Membership

	// Drained says of a node that drains that it has asked for other paths for long
	// enough, and is to withdraw what others announce.
	Drained bool
}

// Desired is what is to be true of one node. It is a value: two that are equal
// ask for the same.
type Desired struct {
	BGP       render.Config
	Decisions []status.Decision // by Service, address and protocol
	Peers     []status.Peer     // in document order, without their sessions
	Last      []netip.Addr      // what no other node announces, though this one drains
	Drain     Drain             // of the node; zero: it does not drain

	// MadeID is a router ID that is made from the node's name; zero: there is none.
	MadeID netip.Addr
}
