// SPDX-License-Identifier: Apache-2.0

package cluster

import (
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
}

// AllUp reports whether there are sessions, and all are up.
func (p PeerSessions) AllUp() bool { return p.Wanted > 0 && p.Up == p.Wanted }

// Settled reports whether no session is merely being opened.
func (p PeerSessions) Settled() bool { return p.Reason != status.SessionConnecting }

// NoSessions is the PeerSessions of a peer that no node has a session with.
var NoSessions = PeerSessions{
	Reason: ReasonNoSession, Message: "no node holds a session: its nodeSelectors match no node with an agent, or it is refused there",
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
	out, down := map[string]PeerSessions{}, map[string][]string{}
	for _, node := range slices.Sorted(maps.Keys(n)) {
		for _, s := range n[node] {
			p := out[s.Peer]
			p.Wanted++
			switch {
			case s.Up:
				p.Up++
			case p.Reason == "":
				p.Reason = s.Reason
			case p.Reason != s.Reason:
				p.Reason = ReasonSessionsDown
			}
			if !s.Up {
				down[s.Peer] = append(down[s.Peer], node+": "+s.Message)
			}
			out[s.Peer] = p
		}
	}
	for peer, p := range out {
		p.Message = fmt.Sprintf("%d of %d sessions are up", p.Up, p.Wanted)
		if len(down[peer]) == 0 {
			p.Reason = ReasonSessionsUp
		} else {
			p.Message += "; " + List(down[peer], "; ")
		}
		out[peer] = p
	}
	return out
}
