// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
)

// LabelExcludeNode on a Node, whatever its value, keeps the node from
// announcing anything.
const LabelExcludeNode = "node.kubernetes.io/exclude-from-external-load-balancers"

// Options say what Announce leaves aside.
type Options struct {
	Class           string // optional: spec.loadBalancerClass of the Services to announce
	IgnoreExcludeLB bool   // optional: LabelExcludeNode has no meaning
	Layer2          bool   // optional: layer 2 is decided about by AnnounceLayer2

	// Members are required if a node may drain, or leave to others what it announces
	// for another reason: it leaves that only to nodes that were seen to announce it.
	Members Membership

	// Drained says of a node that drains that it has asked for other paths for long
	// enough, and is to withdraw what others announce.
	Drained bool

	// Announces reports whether the node announces an address now, over any protocol.
	// Optional: nil if that is not known. A node that drains then goes on with all that
	// nobody else was seen to announce, and no Left is worked out.
	Announces func(netip.Addr) bool

	// Leaving says that the agent stops, and FRR may as well.
	Leaving bool

	// Kept are names of peers whose sessions the node goes on with though they do not
	// select it any more. Optional.
	Kept []string

	// Gone is the Node as the cluster had it last, if it has it no more: its sessions
	// stay, and it leaves its routes to others. Optional.
	Gone *cluster.Node

	// Overdue says of an address that has been Unseen that it was for long enough.
	// Optional: nil is never.
	Overdue func(netip.Addr) bool
}

// Desired is what is to be true of one node. It is a value: two that are equal
// ask for the same.
type Desired struct {
	BGP       render.Config
	Decisions []status.Decision // by Service, address and protocol
	Peers     []status.Peer     // in document order, without their sessions
	Last      []netip.Addr      // what no other node was seen to announce, though this one drains
	Unseen    []netip.Addr      // likewise, but this one does not announce it, and others are able to

	// Left is what this node announces, and is not to announce over BGP any more, while
	// others are to.
	Left map[netip.Addr]Succession

	// Kept says of each peer that is kept, and told a route, whether others were seen to
	// have told it all these routes.
	Kept map[string]Succession

	// Alone is how many addresses an agent that is Leaving announces that others are able
	// to announce, and were not seen to.
	Alone int

	Drain cluster.Drain // of the node; zero: it does not drain

	// MadeID is a router ID that is made from the node's name; zero: there is none.
	MadeID netip.Addr
}
