// SPDX-License-Identifier: Apache-2.0

// Package diagnosis says why a BGP session is not up, and how to fix it. It judges by
// what was seen of FRR and of the kernel.
package diagnosis

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/heraldlb/herald/status"
)

// Enough is how long a session must have been tried until silence counts as evidence.
// bgpd connects every 10 s, and an unanswered SYN is sent again after one second
// (RFC 6298, Section 2).
const Enough = 10 * time.Second

// bgpPort is the TCP port of BGP: RFC 4271, Section 8.2.
const bgpPort = 179

// An Evidence is what is known about a session that is not up. Counts are since the
// session was first seen down.
type Evidence struct {
	Peer     status.Peer    // the configuration
	Session  status.Session // as FRR reports it
	LocalASN uint32         // this node's AS number, as the router sees it
	Shutdown bool           // by FRR's configuration
	Looked   time.Duration  // how long it has been seen down

	// What bgpd reported last. bgpd keeps it when it does not hold any more.
	Notification status.Notification
	Obstacle     status.Obstacle

	OpensSent     int // OPEN messages
	OpensReceived int
	Notifications int // sent and received

	Sockets    bool // whether the kernel has answered; otherwise the rest of this block is unknown
	Unanswered bool // a SYN was sent again
	Alive      bool // the router has answered a ping since then
	Silent     bool // the router's address does not answer ARP
	Connecting bool // a connection has waited for an answer

	Signatures Signatures // of packets that the kernel dropped
	Suspects   []string   // names of other peers that may have sent these packets
}

// Signatures count packets with an unexpected TCP MD5 signature (RFC 2385). The
// kernel counts them for all connections together.
type Signatures struct {
	Missing    uint64 // none, but a password is configured
	Wrong      uint64 // made with another password
	Unexpected uint64 // one, but no password is configured
}

// A Diagnosis is the reason why a session is not up. The zero value means that it is
// unknown.
type Diagnosis struct {
	Reason status.Reason
	Text   string // says how to fix it; contains no time
}

// Of returns the most certain explanation of the evidence.
func Of(e Evidence) Diagnosis {
	switch {
	case e.Shutdown:
		return Diagnosis{status.SessionShutdown, "FRR's configuration on this node shuts the session down: remove the neighbor's shutdown from the raw configuration"}
	case e.Obstacle == status.ObstaclePrefix:
		return Diagnosis{status.SessionPrefixes, "the router sends more routes than the maximum-prefix of FRR's raw configuration: raise it, or make the router send fewer"}
	case e.Notification != (status.Notification{}) && (e.Notifications > 0 || e.resting()):
		return e.notified()
	case e.Obstacle == status.ObstacleBFD && e.Looked < Enough:
		return Diagnosis{status.SessionBFD, "BFD has ended the session, and is " + e.bfd() + ": check the path, and the router"}
	case e.Looked < Enough:
		return Diagnosis{}
	}
	if d := e.connection(); d.Reason != "" {
		return d
	}
	text := "the session does not come up: FRR's state is " + string(e.Session.State)
	if e.Session.LastError != "" {
		text += ", its last error " + e.Session.LastError
	}
	return Diagnosis{status.SessionFailed, text}
}

// resting reports whether bgpd waits before it retries, for the reason that it
// reported last. It may wait for a minute.
func (e Evidence) resting() bool {
	return e.Session.State == "Idle" && e.OpensSent == 0 && !e.Connecting
}

// connection explains the evidence by the state of TCP.
func (e Evidence) connection() Diagnosis {
	switch {
	case (e.OpensSent > 0 || e.Session.State == "OpenSent") && e.OpensReceived == 0:
		return e.closed()
	case e.OpensSent > 0:
		return Diagnosis{}
	case e.Obstacle == status.ObstacleRoute && !e.Connecting:
		return Diagnosis{status.SessionNoRoute, fmt.Sprintf("this node has no route to %s: an external router must be in a network of the node, or the peer needs ebgpMultiHop and a route", e.at())}
	case e.Obstacle == status.ObstacleRouter && !e.Connecting:
		return Diagnosis{status.SessionNoAnswer, fmt.Sprintf("no router advertisement (RFC 4861) arrives on %s: enable them on the router's interface, and check the link", e.at())}
	case e.signed():
		return e.password()
	case e.Silent:
		return Diagnosis{status.SessionNoAnswer, fmt.Sprintf("no TCP connection to %s: the address does not answer ARP: check peerAddress, the VLAN, and that the router is on", e.at())}
	case e.Unanswered:
		return e.unanswered()
	case e.Session.State == "Idle" && e.Peer.BFDProfile != "" && e.Session.BFD != "up":
		return Diagnosis{status.SessionBFD, "FRR waits for BFD, which is " + e.bfd() + ": enable BFD for this neighbor on the router, with single or multiple hops as here (RFC 5882)"}
	case e.Sockets && !e.Connecting && e.Session.State == "Active":
		return Diagnosis{status.SessionRefused, fmt.Sprintf("%s refuses TCP connections (RST or ICMP unreachable): check that BGP runs there on this port with this node as a neighbor, and firewalls", e.at())}
	case e.Session.State == "Active" || e.Session.State == "Connect":
		return e.unanswered()
	}
	return Diagnosis{}
}

// signed reports whether packets with unexpected signatures may be the router's.
func (e Evidence) signed() bool {
	s := e.Signatures
	if e.Silent {
		return false
	}
	if e.Peer.Authenticated {
		return s.Missing+s.Wrong > 0
	}
	return s.Unexpected > 0 && e.Unanswered
}

// password explains packets with unexpected signatures.
func (e Evidence) password() Diagnosis {
	what, cure := "packets without a TCP MD5 signature (RFC 2385) arrive: check that the router has the password, and that BGP runs there (a refusal is not signed)", ""
	switch {
	case !e.Peer.Authenticated:
		what = "packets with a TCP MD5 signature (RFC 2385) arrive, and the peer has no password: set the router's password here, or remove it there"
	case e.Signatures.Wrong > 0:
		what = "packets with a wrong TCP MD5 signature (RFC 2385) arrive: check that the password is the same on both sides"
	}
	if len(e.Suspects) > 0 {
		cure = "; they may be of another peer without a connection: " + clip(e.Suspects)
	}
	return Diagnosis{status.SessionPassword, fmt.Sprintf("no TCP connection to %s: %s%s", e.at(), what, cure)}
}

// unanswered explains that the router does not answer. A router silently drops
// segments with a signature that it does not expect (RFC 2385, Section 2).
func (e Evidence) unanswered() Diagnosis {
	switch {
	case e.Alive && e.Peer.Authenticated:
		return Diagnosis{status.SessionPassword, fmt.Sprintf("no TCP connection to %s: the router answers ping, and no packet that is signed with the password (TCP MD5, RFC 2385): check the password on both sides, then that BGP runs there, and firewalls", e.at())}
	case e.Alive && e.Peer.TTLSecurity != 0:
		return Diagnosis{status.SessionNoAnswer, fmt.Sprintf("no TCP connection to %s: the router answers ping, and no TCP SYN with the TTL that is asked for: check that it has %s, then the password on both sides, and firewalls", e.at(), e.ttlSecurity())}
	case e.Alive:
		return Diagnosis{status.SessionNoAnswer, fmt.Sprintf("no TCP connection to %s: the router answers ping, and no TCP SYN: a firewall drops it, or the router has a password for this neighbor (RFC 2385) and the peer has none", e.at())}
	}
	cure := "check the address and port, routes both ways and firewalls; a router that expects a password (RFC 2385) is silent too"
	switch {
	case e.Peer.Authenticated:
		cure = "check the password on both sides (a router ignores a wrong one, RFC 2385), the address and port, routes both ways and firewalls"
	case e.Peer.TTLSecurity != 0:
		cure = "check that the router has " + e.ttlSecurity() + ", the address and port, routes both ways and firewalls"
	}
	return Diagnosis{status.SessionNoAnswer, fmt.Sprintf("no TCP connection to %s, it does not answer: %s", e.at(), cure)}
}

// closed explains connections that end before the router has sent an OPEN.
func (e Evidence) closed() Diagnosis {
	n := e.Notification
	if !n.Sent && n.Code == cease && (n.Subcode == ceaseShutdown || n.Subcode == ceaseDeconfigured || n.Subcode == ceasePrefixes) {
		return e.notified()
	}
	if e.Peer.TTLSecurity != 0 {
		return Diagnosis{status.SessionClosed, fmt.Sprintf("%s takes the TCP connection, and no OPEN arrives with the TTL that is asked for: check that the router has %s, and that this node's address is configured as a neighbor there, and is not shut down", e.at(), e.ttlSecurity())}
	}
	return Diagnosis{status.SessionClosed, fmt.Sprintf("%s takes the TCP connection and sends no OPEN: check that this node's address is configured as a neighbor there, and is not shut down", e.at())}
}

// ttlSecurity says what the router needs.
func (e Evidence) ttlSecurity() string {
	return fmt.Sprintf("TTL security (RFC 5082) for this node, and is at most %d hops away", e.Peer.TTLSecurity)
}

// at returns the address and port of the router.
func (e Evidence) at() string {
	port := e.Peer.Port
	if port == 0 {
		port = bgpPort
	}
	at := fmt.Sprintf("%s:%d", e.Peer.ID().Name(), port)
	if e.Peer.Address.Is6() {
		at = netip.AddrPortFrom(e.Peer.Address, port).String()
	}
	if e.Peer.VRF != "" {
		at += " in VRF " + e.Peer.VRF
	}
	return at
}

// bfd returns the state of BFD.
func (e Evidence) bfd() string {
	switch {
	case e.Session.BFD == "":
		return "not there"
	case e.Session.BFDDiagnostic == "" || e.Session.BFDDiagnostic == "ok":
		return e.Session.BFD
	}
	return fmt.Sprintf("%s (%s)", e.Session.BFD, e.Session.BFDDiagnostic)
}

// shown is the number of suspects that are named.
const shown = 3

func clip(names []string) string {
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
}
