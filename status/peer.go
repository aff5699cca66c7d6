// SPDX-License-Identifier: Apache-2.0

package status

import (
	"net/netip"
	"time"
)

// A Peer says whether a node is to hold a session with a BGP router, why not,
// and how that session stands.
type Peer struct {
	Name       string     `json:"name"`
	Address    netip.Addr `json:"address"`
	Port       uint16     `json:"port,omitempty"` // 0: 179
	ASN        uint32     `json:"asn"`
	BFDProfile string     `json:"bfdProfile,omitempty"`
	Wanted     bool       `json:"wanted"` // the node is to hold the session
	Reason     Reason     `json:"reason"`
	Detail     string     `json:"detail,omitempty"`
	Session    Session    `json:"session,omitzero"` // zero: not seen in FRR yet
}

// A SessionState is the state of a BGP session as FRR spells it; RFC 4271,
// Section 8.2.2 says what it means.
type SessionState string

// Established is the one state in which routes are exchanged.
const Established SessionState = "Established"

// A Session is what FRR says of a BGP session.
type Session struct {
	State        SessionState `json:"state"`
	Since        time.Time    `json:"since,omitzero"` // when it was established; zero: it is not
	PrefixesSent int          `json:"prefixesSent"`   // in the peer's Adj-RIB-Out, IPv4 and IPv6
	Dropped      int          `json:"dropped"`        // how often it has gone down
	LastError    string       `json:"lastError,omitempty"`
	BFD          string       `json:"bfd,omitempty"` // state of the BFD session, RFC 5880, Section 4.1; empty: none
}

// Up reports whether the session exchanges routes.
func (s Session) Up() bool { return s.State == Established }
