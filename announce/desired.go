// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"cmp"
	"net/netip"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
)

// LabelExcludeNode on a Node keeps the node from announcing anything. Its value has no
// meaning.
const LabelExcludeNode = "node.kubernetes.io/exclude-from-external-load-balancers"

// Options say how to decide.
type Options struct {
	Class           string // optional: spec.loadBalancerClass of the Services to announce
	IgnoreExcludeLB bool   // optional: LabelExcludeNode has no meaning
	Layer2          bool   // optional: layer 2 is decided about by Layer2
	Index           *Index // optional: of the Snapshot's configuration; else one is made

	// Members are required if the node may drain, or stop announcing a route for another
	// reason: it withdraws only what another node was seen to announce.
	Members Membership

	// Drained: the node drains and its hold is over. It withdraws every route that another
	// node announces.
	Drained bool

	// Announces reports whether the node announces an address now, over any protocol.
	// Optional: nil if that is not known. A node that drains then keeps every route that
	// no other node was seen to announce, and Left stays empty.
	Announces func(netip.Addr) bool

	// Sends are the routes that the node announces now. They matter if Announces is set: a
	// neighbor that gets one may go on to, see Parted.
	Sends Networks

	// Resumes returns the route-map by which FRR was found to announce a route when the agent
	// started; empty: it did not. The agent before this one may have gone on with the route
	// until another node sends it. Optional: nil but for the first decisions.
	Resumes func(netip.Prefix) string

	// Leaving: the agent is stopping, and FRR may stop with it.
	Leaving bool

	// Kept are names of peers that no longer select the node, and whose sessions it keeps
	// for now. Optional.
	Kept []string

	// Gone is the Node as it was before the cluster lost it. Its sessions stay while other
	// nodes take over its routes. Optional.
	Gone *cluster.Node

	// Address is the node's. It makes the router ID while the cluster does not have the
	// Node: another one would end all sessions. Optional.
	Address netip.Addr

	// Damped are the announcements that wait, as the endpoints of their Services come and
	// go. On layer 2 they do while another node answers. Optional.
	Damped map[Announcement]bool

	// Overdue reports whether an address has been Unseen for too long. Optional: nil is
	// never.
	Overdue func(netip.Addr) bool

	// AskAll: the data plane is asked about all Services, see Questions. Optional.
	AskAll bool

	// Readiness is what the node's data plane was seen to serve. Optional: the zero value
	// is a node that serves everything.
	Readiness Readiness
}

// A ServiceAddr is an address of a Service.
type ServiceAddr struct {
	Service string // namespace/name
	Addr    netip.Addr
}

// Compare orders addresses by Service and address.
func (a ServiceAddr) Compare(o ServiceAddr) int {
	return cmp.Or(cluster.ParseKey(a.Service).Compare(cluster.ParseKey(o.Service)), a.Addr.Compare(o.Addr))
}

// An Announcement is an address of a Service over a protocol.
type Announcement struct {
	Service  string // namespace/name
	Addr     netip.Addr
	Protocol status.Protocol
}

// Desired is what one node is to do. It is a value: equal ones mean the same.
type Desired struct {
	BGP       render.Config
	Decisions []status.Decision // by Service, address and protocol
	Peers     []status.Peer     // in document order, without their sessions
	Last      []netip.Addr      // what no other node was seen to announce, though this one drains
	Unseen    []netip.Addr      // likewise, but this one does not announce it, and others are able to

	// Left are the addresses that other nodes are to announce over BGP in place of this one,
	// which still announces them.
	Left map[netip.Addr]Succession

	// Parted are the neighbors that other nodes are to send a route of an address in place of
	// this one, which goes on announcing the address to others.
	Parted map[netip.Addr][]Part

	// Kept has an entry for each kept peer that this node sends a route. Its Confirmed is
	// whether other nodes were seen to have sent that peer all these routes.
	Kept map[string]Succession

	// Alone counts, for an agent that is Leaving, the addresses that other nodes could
	// announce and were not seen to announce.
	Alone int

	Drain cluster.Drain // of the node; zero: it does not drain

	// MadeID is a router ID that is made from the node's name; zero: there is none.
	MadeID netip.Addr
}
