// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/heraldlb/herald/status"
)

// A SessionState says how a BGP session stands that a node is to hold.
type SessionState struct {
	Peer    string        // its name in the configuration
	Up      bool          // established
	Since   time.Time     // it is so
	Reason  status.Reason // why it is not up; empty: it is
	Message string        // the same in words, with the cure
}

// Equal reports whether both say the same.
func (s SessionState) Equal(o SessionState) bool {
	return s.Peer == o.Peer && s.Up == o.Up && s.Since.Equal(o.Since) && s.Reason == o.Reason && s.Message == o.Message
}

// NodeSessions are the sessions of nodes, as their agents say. Nodes whose agents do
// not say are not there. It is immutable.
type NodeSessions map[string][]SessionState

// Sessions returns the sessions of all nodes.
func (f *Fleet) Sessions() NodeSessions {
	out := make(NodeSessions, len(f.agents))
	for node, a := range f.agents {
		if a.Sessions != nil {
			out[node] = a.Sessions
		}
	}
	return out
}

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

// Of counts the sessions with a peer, and says which are down, and why. It reports
// whether any agent says anything of sessions.
func (n NodeSessions) Of(peer string) (out PeerSessions, known bool) {
	var down []string
	for _, node := range slices.Sorted(maps.Keys(n)) {
		for _, s := range n[node] {
			if s.Peer != peer {
				continue
			}
			out.Wanted++
			if s.Up {
				out.Up++
				continue
			}
			switch out.Reason {
			case "":
				out.Reason = s.Reason
			case s.Reason:
			default:
				out.Reason = ReasonSessionsDown
			}
			down = append(down, node+": "+s.Message)
		}
	}
	switch {
	case out.Wanted == 0:
		out.Reason, out.Message = ReasonNoSession, "no node holds a session: its nodeSelectors match no node with an agent, or it is refused there"
	case len(down) == 0:
		out.Reason, out.Message = ReasonSessionsUp, fmt.Sprintf("%d of %d sessions are up", out.Up, out.Wanted)
	default:
		out.Message = fmt.Sprintf("%d of %d sessions are up; %s", out.Up, out.Wanted, clipList(down, "; "))
	}
	return out, len(n) > 0
}
