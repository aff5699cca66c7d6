// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"net/netip"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// FRR runs a configuration.
type FRR interface {
	// Set replaces the text of frr.conf. It must not block.
	Set(conf render.Text)
	// Hurry prepares it for a route that comes in a moment. It must not block.
	Hurry()
	// Applied reports whether it runs the newest text of Set.
	Applied() bool
}

// Routers are the routers that the node has sessions with, and the routes they were sent.
type Routers interface {
	// Expect replaces the routes that matter, which are the keys. It must not block.
	Expect(routes table.Table[netip.Prefix, string])
	// Recheck starts several looks at routes that were sent: the routers that get them
	// are about to change. It must not block.
	Recheck(routes []netip.Prefix)
	// Sent reports whether a router that a session is up with was sent the
	// route, as of a moment ago.
	Sent(route netip.Prefix) bool
	// SentTo returns the routers that were sent it.
	SentTo(route netip.Prefix) []status.PeerID
	// AllSent returns the same for all routes that were sent to any.
	AllSent() SentRoutes
	// Look starts a new look at all routes. The agent is woken after it. It must not block.
	Look()
	// Looked returns when the newest complete look at all routes began.
	Looked() time.Time
}

// SentRoutes have the routers that were sent each route. They are read-only.
type SentRoutes = table.Table[netip.Prefix, []status.PeerID]

// A DataPlane says what the node's data plane, such as kube-proxy, serves.
type DataPlane interface {
	// Want replaces the addresses that matter, and the addresses of the node. It must not
	// block.
	Want(questions announce.QuestionTable, hosts []netip.Addr)
	// Readiness returns what is known of them.
	Readiness() announce.Readiness
}

// Probes are how addresses of Services answer from the node.
type Probes interface {
	// Want replaces what is probed. It must not block.
	Want(targets announce.Targets)
	// Readiness returns what is known of them.
	Readiness() announce.Readiness
}

// Layer2 answers for addresses on the node's own network.
type Layer2 interface {
	// SetNodes replaces the nodes of the cluster, on which other agents run. It must not
	// block.
	SetNodes(nodes []*cluster.Node)
	// Neighborhood returns what is known of the network. It changes nothing.
	Neighborhood() Neighborhood
	// Set replaces what to answer for. It must not block.
	Set(answers handover.Answers)
	// SetFaults replaces the probes that are not answered on this node, which other nodes learn
	// of. All others are answered, or are not made: before the first call that is not known.
	// It must not block.
	SetFaults(faults []announce.Fault)
	// Ask turns on or off that other nodes report what they have sent to routers. It must
	// not block.
	Ask(on bool)
	// Tell replaces what this node reports to others that it has sent. It is needed while
	// the Neighborhood has Asked set, and must not block.
	Tell(sent []announce.Sent)
	// Alone sets how many addresses of an agent that is Leaving no other node was seen to
	// announce over BGP, though others are able to. It must not block.
	Alone(n int)
}
