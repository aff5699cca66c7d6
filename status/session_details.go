// SPDX-License-Identifier: Apache-2.0

package status

import (
	"net/netip"
	"time"
)

// SessionDetails is what FRR says of both ends of a BGP session. What the ends negotiate is
// there while the session is up.
type SessionDetails struct {
	LocalASN       uint32     `json:"localASN"`
	RemoteASN      uint32     `json:"remoteASN,omitempty"`      // 0: not known yet
	LocalAddress   netip.Addr `json:"localAddress,omitzero"`    // of this end; zero: there is no connection
	LocalRouterID  netip.Addr `json:"localRouterID,omitzero"`   // of this end
	RemoteRouterID netip.Addr `json:"remoteRouterID,omitzero"`  // zero: not known yet
	RemoteHost     string     `json:"remoteHostname,omitempty"` // the name that the router gives itself; empty: none
	MD5            bool       `json:"md5"`                      // the session has a password (TCP MD5, RFC 2385)

	HoldTime  int `json:"holdTimeSeconds,omitempty"`  // negotiated
	Keepalive int `json:"keepaliveSeconds,omitempty"` // negotiated

	// Capabilities (RFC 5492) by name. Agreed: both ends have it; sent, received: one has.
	Capabilities map[string]Capability `json:"capabilities,omitempty"`
	// GracefulRestart: the router keeps the node's routes while FRR restarts (RFC 4724).
	GracefulRestart bool            `json:"gracefulRestart,omitempty"`
	Families        []SessionFamily `json:"families,omitempty"` // sorted by name

	LastReset *SessionReset `json:"lastReset,omitempty"` // nil: the session has never failed
}

// A Capability says which end of a session has a capability.
type Capability string

// The values of a Capability.
const (
	CapabilityAgreed   Capability = "agreed"   // both ends
	CapabilitySent     Capability = "sent"     // this end
	CapabilityReceived Capability = "received" // the router
)

// A SessionFamily is an address family of a BGP session.
type SessionFamily struct {
	Name     string `json:"name"`             // ipv4Unicast or ipv6Unicast
	Agreed   bool   `json:"agreed"`           // both ends exchange routes of it
	Sent     int    `json:"prefixesSent"`     // in the peer's Adj-RIB-Out
	Received int    `json:"prefixesReceived"` // from the router, and accepted
}

// A SessionReset is why a session went down last, or why the last attempt failed. It stays
// while the session is up again.
type SessionReset struct {
	At    time.Time `json:"at,omitzero"` // zero: not known
	Error string    `json:"error"`       // in FRR's words
}
