// SPDX-License-Identifier: Apache-2.0

package status

// Reasons why a Session is not up.
const (
	SessionConnecting Reason = "Connecting"          // it was not tried for long enough to say
	SessionNoAnswer   Reason = "NoAnswer"            // TCP: the router does not answer
	SessionRefused    Reason = "ConnectionRefused"   // TCP: the router, or a firewall, refuses
	SessionPassword   Reason = "WrongPassword"       // TCP MD5: signatures do not match
	SessionNoRoute    Reason = "NoRoute"             // the node has no route to the router
	SessionClosed     Reason = "ConnectionClosed"    // the router takes the connection and closes it
	SessionPeerAS     Reason = "BadPeerAS"           // one side expects another AS number
	SessionRouterID   Reason = "BadRouterID"         // both sides have the same router ID, or one is invalid
	SessionCollision  Reason = "ConnectionCollision" // the router has a session with this node's address already
	SessionHoldTimer  Reason = "HoldTimerExpired"    // nothing was heard for the hold time
	SessionBFD        Reason = "BFDDown"             // BFD is down
	SessionShutdown   Reason = "AdminShutdown"       // somebody has shut it down
	SessionPrefixes   Reason = "MaximumPrefixes"     // one side has sent more routes than the other takes
	SessionRejected   Reason = "Rejected"            // the router ends it for another reason
	SessionFailed     Reason = "SessionFailed"       // this node ends it for another reason
	SessionSilentFRR  Reason = "NoFRR"               // FRR does not answer
)

// A Notification is what a BGP NOTIFICATION message says: RFC 4271, Section 4.5.
// The zero value is none.
type Notification struct {
	Code, Subcode uint8
	Sent          bool // by this node; else by the router
}

// An Obstacle is what keeps bgpd from opening a session, or has made it close one,
// other than a NOTIFICATION. The zero value is none.
type Obstacle int

// The obstacles.
const (
	Unobstructed   Obstacle = iota
	ObstacleRoute           // it has no route to the router
	ObstacleRouter          // unnumbered: no router was heard on the interface
	ObstaclePrefix          // the router has sent more routes than are taken
	ObstacleBFD             // BFD went down
)
