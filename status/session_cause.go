// SPDX-License-Identifier: Apache-2.0

package status

// Reasons why a Session is not up.
const (
	SessionConnecting Reason = "Connecting"          // it has not been tried for long enough to know
	SessionNoAnswer   Reason = "NoAnswer"            // TCP: the router does not answer
	SessionRefused    Reason = "ConnectionRefused"   // TCP: the router, or a firewall, refuses
	SessionPassword   Reason = "WrongPassword"       // TCP MD5: signatures do not match
	SessionNoRoute    Reason = "NoRoute"             // the node has no route to the router
	SessionClosed     Reason = "ConnectionClosed"    // the router accepts the connection and closes it
	SessionPeerAS     Reason = "BadPeerAS"           // one side expects another AS number
	SessionRouterID   Reason = "BadRouterID"         // both sides have the same router ID, or one is invalid
	SessionCollision  Reason = "ConnectionCollision" // the router has a session with this node's address already
	SessionHoldTimer  Reason = "HoldTimerExpired"    // no message arrived during the hold time
	SessionBFD        Reason = "BFDDown"             // BFD is down
	SessionShutdown   Reason = "AdminShutdown"       // an operator has shut it down
	SessionPrefixes   Reason = "MaximumPrefixes"     // one side has sent more routes than the other accepts
	SessionRejected   Reason = "Rejected"            // the router ends it for another reason
	SessionFailed     Reason = "SessionFailed"       // this node ends it for another reason
	SessionSilentFRR  Reason = "NoFRR"               // FRR does not answer
)

// A Notification is the content of a BGP NOTIFICATION message (RFC 4271, Section 4.5).
// The zero value is none.
type Notification struct {
	Code, Subcode uint8
	Sent          bool // by this node; else by the router
}

// An Obstacle keeps bgpd from opening a session, or has made it close one, without a
// NOTIFICATION. The zero value is none.
type Obstacle int

// The obstacles.
const (
	Unobstructed   Obstacle = iota
	ObstacleRoute           // it has no route to the router
	ObstacleRouter          // unnumbered: no router advertisement arrived on the interface
	ObstaclePrefix          // the router has sent more routes than are accepted
	ObstacleBFD             // BFD went down
)
