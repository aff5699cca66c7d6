// SPDX-License-Identifier: Apache-2.0

package diagnosis

import (
	"cmp"
	"fmt"

	"github.com/heraldlb/herald/status"
)

// Codes of NOTIFICATION messages: RFC 4271, Section 4.5.
const (
	openError = 2
	holdTimer = 4
	cease     = 6
)

// Subcodes of an error in the OPEN: RFC 4271, Section 6.2, and RFC 5492, Section 5.
const (
	openBadAS      = 2
	openBadID      = 3
	openHoldTime   = 6
	openCapability = 7
)

// Subcodes of Cease: RFC 4486, Section 3, and RFC 9384, Section 3.
const (
	ceasePrefixes     = 1
	ceaseShutdown     = 2
	ceaseDeconfigured = 3
	ceaseReset        = 4
	ceaseRejected     = 5
	ceaseCollision    = 7
	ceaseResources    = 8
	ceaseBFD          = 10
)

// notified explains the NOTIFICATION that has closed the session.
func (e Evidence) notified() Diagnosis {
	n := e.Notification
	switch [2]uint8{n.Code, n.Subcode} {
	case [2]uint8{openError, openBadAS}:
		return e.badAS()
	case [2]uint8{openError, openBadID}:
		return Diagnosis{status.SessionRouterID, e.who() + " the router ID (Bad BGP Identifier): two routers must not have the same: set routerID, or change the router's"}
	case [2]uint8{openError, openHoldTime}:
		return Diagnosis{status.SessionRejected, e.who() + " the hold time: set one that both sides accept (holdTime)"}
	case [2]uint8{openError, openCapability}:
		return Diagnosis{status.SessionRejected, e.who() + " an address family or capability of the other side: enable the same address families on the router"}
	case [2]uint8{cease, ceasePrefixes}:
		if n.Sent {
			return Diagnosis{status.SessionPrefixes, "the router sends more routes than the maximum-prefix of FRR's raw configuration: raise it, or make the router send fewer"}
		}
		return Diagnosis{status.SessionPrefixes, "this node announces more routes than the router takes (Maximum Number of Prefixes Reached): raise the router's limit, or aggregate routes"}
	case [2]uint8{cease, ceaseShutdown}:
		if !n.Sent {
			return Diagnosis{status.SessionShutdown, "the router's operator has shut the session down (Administrative Shutdown): enable the neighbor on the router"}
		}
	case [2]uint8{cease, ceaseDeconfigured}:
		if !n.Sent {
			return Diagnosis{status.SessionClosed, "the router's configuration has no such neighbor any more (Peer De-configured): configure this node's address there"}
		}
	case [2]uint8{cease, ceaseReset}:
		if !n.Sent {
			return Diagnosis{status.SessionRejected, "the router's operator resets the session (Administrative Reset)"}
		}
	case [2]uint8{cease, ceaseRejected}:
		if !n.Sent {
			return Diagnosis{status.SessionRejected, "the router rejects the connection (Connection Rejected): check its neighbor configuration and its limit of sessions"}
		}
	case [2]uint8{cease, ceaseCollision}:
		return Diagnosis{status.SessionCollision, "the router has another session with this node's address (Connection Collision Resolution): stop the other BGP speaker of this node, or give it another source address"}
	case [2]uint8{cease, ceaseResources}:
		if !n.Sent {
			return Diagnosis{status.SessionRejected, "the router is out of resources (Out of Resources): free memory or sessions there"}
		}
	case [2]uint8{cease, ceaseBFD}:
		return Diagnosis{status.SessionBFD, "BFD is " + cmp.Or(e.Session.BFD, "down") + ": check BFD on both sides, and the path (RFC 9384)"}
	}
	if n.Code == holdTimer {
		if n.Sent {
			return Diagnosis{status.SessionHoldTimer, "the router sends no KEEPALIVE for the hold time (Hold Timer Expired): check the router's load, packet loss and the MTU of the path"}
		}
		return Diagnosis{status.SessionHoldTimer, "the router hears no KEEPALIVE for the hold time (Hold Timer Expired): check this node's load, packet loss and the MTU of the path"}
	}
	name := cmp.Or(e.Session.LastError, fmt.Sprintf("NOTIFICATION %d/%d", n.Code, n.Subcode))
	if n.Sent {
		return Diagnosis{status.SessionFailed, "this node ends the session: " + name}
	}
	return Diagnosis{status.SessionRejected, "the router ends the session: " + name}
}

// who returns the beginning of a sentence about something that one side refuses.
func (e Evidence) who() string {
	if e.Notification.Sent {
		return "this node refuses"
	}
	return "the router refuses"
}

// badAS explains AS numbers that do not match.
func (e Evidence) badAS() Diagnosis {
	text := fmt.Sprintf("the router expects another AS number of this node than %d (Bad Peer AS received): correct myASN or localASN, or the neighbor's remote AS on the router", e.LocalASN)
	if e.Notification.Sent {
		want := e.Peer.DynamicASN
		if want == "" {
			want = fmt.Sprintf("AS %d", e.Peer.ASN)
		} else {
			want = "an " + want + " AS"
		}
		text = fmt.Sprintf("the router is not in %s (Bad Peer AS sent): correct peerASN, or the AS number on the router", want)
	}
	return Diagnosis{status.SessionPeerAS, text}
}
