// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"net/netip"
	"strings"
	"time"
)

// A Peer says whether a node is to hold a session with a BGP router, why not,
// and how that session stands.
type Peer struct {
	Name       string     `json:"name"`
	Address    netip.Addr `json:"address,omitzero"`    // zero: Interface is set
	Interface  string     `json:"interface,omitempty"` // unnumbered
	VRF        string     `json:"vrf,omitempty"`       // empty: the default one
	Port       uint16     `json:"port,omitempty"`      // 0: 179
	ASN        uint32     `json:"asn,omitempty"`       // 0: DynamicASN says what it may be
	DynamicASN string     `json:"dynamicASN,omitempty"`
	BFDProfile string     `json:"bfdProfile,omitempty"`
	Wanted     bool       `json:"wanted"` // the node is to hold the session

	Authenticated bool  `json:"authenticated,omitempty"` // the session has a password (TCP MD5, RFC 2385)
	TTLSecurity   uint8 `json:"ttlSecurity,omitempty"`   // the greatest distance in hops (GTSM, RFC 5082); 0: any

	Reason  Reason  `json:"reason"`
	Detail  string  `json:"detail,omitempty"`
	Session Session `json:"session,omitzero"` // zero: not seen in FRR yet
}

// A PeerID identifies a BGP neighbor of a node: by its address, or by the interface of an
// unnumbered session, and by the VRF. IDs compare with ==.
type PeerID struct {
	Address   netip.Addr // zero: Interface is set
	Interface string
	VRF       string // empty: the default one
}

// ID returns the neighbor's ID.
func (p Peer) ID() PeerID { return PeerID{p.Address, p.Interface, p.VRF} }

// defaultVRF is FRR's name for the default VRF.
const defaultVRF = "default"

// PeerOf returns the neighbor to which FRR gives a name in a VRF.
func PeerOf(vrf, name string) PeerID {
	id := PeerID{VRF: vrf}
	if vrf == defaultVRF {
		id.VRF = ""
	}
	addr, err := netip.ParseAddr(name)
	if err != nil {
		id.Interface = name
	} else {
		id.Address = addr
	}
	return id
}

// Compare orders neighbors by VRF, the default one first, then by address, those
// without one first, then by interface.
func (id PeerID) Compare(o PeerID) int {
	return cmp.Or(strings.Compare(id.VRF, o.VRF), id.Address.Compare(o.Address), strings.Compare(id.Interface, o.Interface))
}

// Name returns FRR's name for the neighbor in its VRF.
func (id PeerID) Name() string {
	if id.Interface != "" {
		return id.Interface
	}
	return id.Address.String()
}

// String returns the neighbor's name, followed by the VRF.
func (id PeerID) String() string {
	if id.VRF != "" {
		return id.Name() + " vrf " + id.VRF
	}
	return id.Name()
}

// Carries reports whether a session with the neighbor has the routes of a family
// by itself: an unnumbered one has those of both.
func (id PeerID) Carries(is4 bool) bool { return id.Interface != "" || id.Address.Is4() == is4 }

// A SessionState is the state of a BGP session as FRR spells it; RFC 4271,
// Section 8.2.2 says what it means.
type SessionState string

// Established is the one state in which routes are exchanged.
const Established SessionState = "Established"

// A Session is what FRR says of a BGP session.
type Session struct {
	State        SessionState `json:"state"`
	Since        time.Time    `json:"since,omitzero"`      // when it was established; zero: it is not
	DownSince    time.Time    `json:"downSince,omitzero"`  // when it went down, not before the agent's start; zero: it is up, or not in FRR
	PrefixesSent int          `json:"prefixesSent"`        // in the peer's Adj-RIB-Out, IPv4 and IPv6
	Dropped      int          `json:"dropped"`             // how often it has gone down
	LastError    string       `json:"lastError,omitempty"` // in FRR's words; empty while the session is up
	BFD          string       `json:"bfd,omitempty"`       // state of the BFD session, RFC 5880, Section 4.1; empty: none

	Fault     Reason `json:"fault,omitempty"`     // why it is not up; empty: it is, or that cannot be told yet
	Diagnosis string `json:"diagnosis,omitempty"` // the same in words, with the cure

	BFDDiagnostic string `json:"bfdDiagnostic,omitempty"` // why it went down, "ok" if it did not
	BFDPeer       string `json:"-"`                       // who the BFD session is with, as metrics name it; empty: there is none

	Details *SessionDetails `json:"details,omitempty"` // nil: FRR does not have the session
}

// Up reports whether the session exchanges routes.
func (s Session) Up() bool { return s.State == Established }
