// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/heraldlb/herald/status"
)

// A SessionState is the state of a BGP session that a node is to hold.
type SessionState struct {
	Peer    string        // its name in the configuration
	Up      bool          // established
	Since   time.Time     // when it came up, or went down
	Reason  status.Reason // why it is down; empty: it is up
	Message string        // the same in words, with the cure
}

// Equal reports whether both are the same.
func (s SessionState) Equal(o SessionState) bool {
	return s.Peer == o.Peer && s.Up == o.Up && s.Since.Equal(o.Since) && s.Reason == o.Reason && s.Message == o.Message
}

// NodeSessions are the sessions of nodes, as their agents report them. A node whose
// agent reports none is not there. It is immutable.
type NodeSessions map[string][]SessionState

// ReasonSessionsUp is the reason of the condition SessionsUp where it is True.
const ReasonSessionsUp status.Reason = "Established"

// Reasons of the condition SessionsUp where sessions are down for several reasons,
// or there are none. Its others are those of sessions.
const (
	ReasonSessionsDown status.Reason = "SessionsDown"
	ReasonNoSession    status.Reason = status.NodeNotSelected
)

// PeerSessions are the sessions of all nodes with one peer.
type PeerSessions struct {
	Wanted, Up int
	Reason     status.Reason
	Message    string
	Errors     string        // why sessions are down, in one word each, and on which nodes; empty: all are up
	Nodes      []NodeSession // by node, those that are down first; at most maxNodeSessions
}

// A NodeSession is the session of a node with a peer.
type NodeSession struct {
	Node string
	SessionState
}

// maxNodeSessions bounds PeerSessions.Nodes, however many nodes there are.
const maxNodeSessions = 50

// Equal reports whether both are the same.
func (p PeerSessions) Equal(o PeerSessions) bool {
	return p.Wanted == o.Wanted && p.Up == o.Up && p.Reason == o.Reason && p.Message == o.Message && p.Errors == o.Errors &&
		slices.EqualFunc(p.Nodes, o.Nodes, func(a, b NodeSession) bool { return a.Node == b.Node && a.SessionState.Equal(b.SessionState) })
}

// AllUp reports whether there are sessions, and all are up.
func (p PeerSessions) AllUp() bool { return p.Wanted > 0 && p.Up == p.Wanted }

// Settled reports whether no session is merely being opened.
func (p PeerSessions) Settled() bool { return p.Reason != status.SessionConnecting }

// NoSessions is the PeerSessions of a peer that no node has a session with.
var NoSessions = PeerSessions{
	Reason: ReasonNoSession, Errors: string(ReasonNoSession), Message: "no node holds a session: its nodeSelectors match no node with an agent, or it is refused there",
}

// Of returns the sessions with a peer, and whether any agent reports sessions.
func (n NodeSessions) Of(peer string) (out PeerSessions, known bool) {
	out, held := n.ByPeer()[peer]
	if !held {
		out = NoSessions
	}
	return out, len(n) > 0
}

// ByPeer counts the sessions with each peer that some node holds one with. The messages
// list those that are down, and why. It returns nil if no agent reports sessions.
func (n NodeSessions) ByPeer() map[string]PeerSessions {
	if len(n) == 0 {
		return nil
	}
	counts := map[string]*sessionCount{}
	for _, node := range slices.Sorted(maps.Keys(n)) {
		for _, s := range n[node] {
			c := counts[s.Peer]
			if c == nil {
				c = &sessionCount{failed: map[status.Reason][]string{}}
				counts[s.Peer] = c
			}
			c.add(NodeSession{node, s})
		}
	}
	out := make(map[string]PeerSessions, len(counts))
	for peer, c := range counts {
		out[peer] = c.sum()
	}
	return out
}

// A sessionCount counts the sessions with one peer.
type sessionCount struct {
	wanted   int
	up, down []NodeSession              // at most maxNodeSessions of each
	failed   map[status.Reason][]string // nodes by the reason why their session is down
	messages []string                   // of those that are down
}

// add counts a session. They come in the order of the nodes.
func (c *sessionCount) add(s NodeSession) {
	c.wanted++
	list := &c.up
	if !s.Up {
		list = &c.down
		c.failed[s.Reason] = append(c.failed[s.Reason], s.Node)
		c.messages = append(c.messages, s.Node+": "+s.Message)
	}
	if len(*list) < maxNodeSessions {
		*list = append(*list, s)
	}
}

// sum returns what was counted.
func (c *sessionCount) sum() PeerSessions {
	p := PeerSessions{Wanted: c.wanted, Up: c.wanted - len(c.messages), Nodes: append(c.down, c.up...)}
	p.Nodes = p.Nodes[:min(len(p.Nodes), maxNodeSessions)]
	p.Message = fmt.Sprintf("%d of %d sessions are up", p.Up, p.Wanted)
	var errs []string
	for _, reason := range slices.Sorted(maps.Keys(c.failed)) {
		errs = append(errs, fmt.Sprintf("%s on %s", cmp.Or(reason, "Down"), List(c.failed[reason], ", ")))
		p.Reason = reason
	}
	p.Errors = List(errs, "; ")
	switch len(c.failed) {
	case 0:
		p.Reason = ReasonSessionsUp
		return p
	case 1:
	default:
		p.Reason = ReasonSessionsDown
	}
	p.Message += "; " + List(c.messages, "; ")
	return p
}
