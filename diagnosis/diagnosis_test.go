// SPDX-License-Identifier: Apache-2.0

package diagnosis_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/diagnosis"
	"github.com/heraldlb/herald/status"
)

func TestOf(t *testing.T) {
	plain := status.Peer{Name: "tor", Address: netip.MustParseAddr("10.0.0.1"), ASN: 64513}
	keyed, guarded, v6 := plain, plain, plain
	keyed.Authenticated = true
	guarded.BFDProfile = "fast"
	near := plain
	near.TTLSecurity = 2
	v6.Address, v6.Port, v6.VRF = netip.MustParseAddr("fd00::1"), 1179, "red"
	unnumbered := status.Peer{Name: "tor", Interface: "eth1", DynamicASN: "external"}

	in := func(state string) status.Session {
		return status.Session{State: status.SessionState(state), LastError: "Cease/Other Configuration Change"}
	}
	received := func(code, subcode uint8) status.Notification {
		return status.Notification{Code: code, Subcode: subcode}
	}
	sent := func(code, subcode uint8) status.Notification {
		return status.Notification{Code: code, Subcode: subcode, Sent: true}
	}
	const long = 25 * time.Second
	tests := []struct {
		name   string
		e      diagnosis.Evidence
		reason status.Reason
		text   string // is part of what it says
	}{
		{"too early to say", diagnosis.Evidence{Peer: plain, Session: in("Active"), Looked: 8 * time.Second, Sockets: true}, "", ""},
		{"no answer", diagnosis.Evidence{Peer: plain, Session: in("Connect"), Looked: long, Sockets: true, Connecting: true, Unanswered: true},
			status.SessionNoAnswer, "no TCP connection to 10.0.0.1:179, it does not answer: check the address and port, routes both ways and firewalls"},
		{"no answer over IPv6 in a VRF", diagnosis.Evidence{Peer: v6, Session: in("Connect"), Looked: long, Sockets: true, Connecting: true, Unanswered: true},
			status.SessionNoAnswer, "no TCP connection to [fd00::1]:1179 in VRF red, it does not answer"},
		{"no answer, and a password", diagnosis.Evidence{Peer: keyed, Session: in("Connect"), Looked: long, Sockets: true, Connecting: true, Unanswered: true},
			status.SessionNoAnswer, "check the password on both sides"},
		{"no answer of a router that is there", diagnosis.Evidence{Peer: plain, Session: in("Connect"), Looked: long, Sockets: true, Connecting: true, Unanswered: true, Alive: true},
			status.SessionNoAnswer, "the router answers ping, and no TCP SYN: a firewall drops it, or the router has a password"},
		{"another password, and bgpd does not listen", diagnosis.Evidence{Peer: keyed, Session: in("Connect"), Looked: long, Sockets: true, Connecting: true, Unanswered: true, Alive: true},
			status.SessionPassword, "the router answers ping, and no packet that is signed with the password (TCP MD5, RFC 2385): check the password on both sides"},
		{"no answer to ARP", diagnosis.Evidence{Peer: plain, Session: in("Active"), Looked: long, Sockets: true, Connecting: true, Unanswered: true, Silent: true},
			status.SessionNoAnswer, "10.0.0.1:179: the address does not answer ARP"},
		{"nothing is known of sockets", diagnosis.Evidence{Peer: plain, Session: in("Active"), Looked: long},
			status.SessionNoAnswer, "does not answer"},
		{"refused", diagnosis.Evidence{Peer: plain, Session: in("Active"), Looked: long, Sockets: true},
			status.SessionRefused, "10.0.0.1:179 refuses TCP connections (RST or ICMP unreachable)"},
		{"no route", diagnosis.Evidence{Peer: plain, Session: in("Active"), Looked: long, Sockets: true, Obstacle: status.ObstacleRoute},
			status.SessionNoRoute, "no route to 10.0.0.1:179: an external router must be in a network of the node, or the peer needs ebgpMultiHop"},
		{"no route once, and called now", diagnosis.Evidence{Peer: plain, Session: in("Connect"), Looked: long, Sockets: true, Obstacle: status.ObstacleRoute, Connecting: true, Unanswered: true},
			status.SessionNoAnswer, "does not answer"},
		{"no router advertisement", diagnosis.Evidence{Peer: unnumbered, Session: in("Active"), Looked: long, Sockets: true, Obstacle: status.ObstacleRouter},
			status.SessionNoAnswer, "no router advertisement (RFC 4861) arrives on eth1"},

		{"another password", diagnosis.Evidence{Peer: keyed, Session: in("Connect"), Looked: long, Sockets: true, Connecting: true, Unanswered: true, Signatures: diagnosis.Signatures{Wrong: 8}},
			status.SessionPassword, "no TCP connection to 10.0.0.1:179: packets with a wrong TCP MD5 signature (RFC 2385) arrive: check that the password is the same on both sides"},
		{"another password, on a router that waits", diagnosis.Evidence{Peer: keyed, Session: in("Active"), Looked: long, Sockets: true, Signatures: diagnosis.Signatures{Wrong: 1}, Suspects: []string{"a", "b", "c", "d"}},
			status.SessionPassword, "they may be of another peer without a connection: a, b, c and 1 more"},
		{"the router has no password", diagnosis.Evidence{Peer: keyed, Session: in("Connect"), Looked: long, Sockets: true, Signatures: diagnosis.Signatures{Missing: 3}},
			status.SessionPassword, "packets without a TCP MD5 signature (RFC 2385) arrive: check that the router has the password"},
		{"the peer has no password", diagnosis.Evidence{Peer: plain, Session: in("Connect"), Looked: long, Sockets: true, Connecting: true, Unanswered: true, Signatures: diagnosis.Signatures{Unexpected: 3}},
			status.SessionPassword, "and the peer has no password"},
		{"signatures of another peer: this one refuses", diagnosis.Evidence{Peer: plain, Session: in("Active"), Looked: long, Sockets: true, Signatures: diagnosis.Signatures{Unexpected: 3}},
			status.SessionRefused, "refuses"},
		{"signatures of another peer: this one has none", diagnosis.Evidence{Peer: plain, Session: in("Connect"), Looked: long, Sockets: true, Connecting: true, Unanswered: true, Signatures: diagnosis.Signatures{Missing: 3, Wrong: 3}},
			status.SessionNoAnswer, "does not answer"},
		{"signatures of another peer: this one is not on the network", diagnosis.Evidence{Peer: keyed, Session: in("Active"), Looked: long, Sockets: true, Silent: true, Signatures: diagnosis.Signatures{Wrong: 3}},
			status.SessionNoAnswer, "ARP"},

		{"wrong AS of the router", diagnosis.Evidence{Peer: plain, Session: in("Idle"), Notification: sent(2, 2), Notifications: 1},
			status.SessionPeerAS, "the router is not in AS 64513 (Bad Peer AS sent): correct peerASN"},
		{"wrong AS of a router of any AS", diagnosis.Evidence{Peer: unnumbered, Session: in("Idle"), Notification: sent(2, 2), Notifications: 1},
			status.SessionPeerAS, "the router is not in an external AS"},
		{"wrong AS of this node", diagnosis.Evidence{Peer: plain, Session: in("Idle"), LocalASN: 64512, Notification: received(2, 2), Notifications: 1},
			status.SessionPeerAS, "than 64512 (Bad Peer AS received): correct myASN"},
		{"wrong AS, between two tries", diagnosis.Evidence{Peer: plain, Session: in("Idle"), Looked: time.Minute, Sockets: true, Notification: sent(2, 2)},
			status.SessionPeerAS, "Bad Peer AS"},
		{"wrong AS long ago, and no answer now", diagnosis.Evidence{Peer: plain, Session: in("Connect"), Looked: time.Minute, Sockets: true, Connecting: true, Unanswered: true, Notification: sent(2, 2)},
			status.SessionNoAnswer, "does not answer"},
		{"the same router ID", diagnosis.Evidence{Peer: plain, Session: in("Idle"), Notification: received(2, 3), Notifications: 1},
			status.SessionRouterID, "the router refuses the router ID (Bad BGP Identifier)"},
		{"hold time not taken", diagnosis.Evidence{Peer: plain, Session: in("Idle"), Notification: sent(2, 6), Notifications: 1},
			status.SessionRejected, "this node refuses the hold time"},
		{"capability", diagnosis.Evidence{Peer: plain, Session: in("Idle"), Notification: received(2, 7), Notifications: 1},
			status.SessionRejected, "the router refuses an address family"},
		{"another speaker on the node", diagnosis.Evidence{Peer: plain, Session: in("Idle"), Notification: received(6, 7), Notifications: 4, OpensSent: 2, OpensReceived: 2, Looked: long},
			status.SessionCollision, "the router has another session with this node's address (Connection Collision Resolution): stop the other BGP speaker"},
		{"hold timer here", diagnosis.Evidence{Peer: plain, Session: in("Idle"), Notification: sent(4, 0), Notifications: 1},
			status.SessionHoldTimer, "the router sends no KEEPALIVE for the hold time"},
		{"hold timer there", diagnosis.Evidence{Peer: plain, Session: in("Idle"), Notification: received(4, 0), Notifications: 1},
			status.SessionHoldTimer, "the router hears no KEEPALIVE"},
		{"too many routes of this node", diagnosis.Evidence{Peer: plain, Session: in("Idle"), Notification: received(6, 1), Notifications: 1},
			status.SessionPrefixes, "more routes than the router takes"},
		{"too many routes of the router", diagnosis.Evidence{Peer: plain, Session: in("Idle"), Obstacle: status.ObstaclePrefix},
			status.SessionPrefixes, "the router sends more routes"},
		{"shut down there", diagnosis.Evidence{Peer: plain, Session: in("Idle"), Notification: received(6, 2), Notifications: 1},
			status.SessionShutdown, "the router's operator has shut the session down"},
		{"shut down there, and called since", diagnosis.Evidence{Peer: plain, Session: in("Active"), Looked: long, Sockets: true, OpensSent: 2, Notification: received(6, 2)},
			status.SessionShutdown, "the router's operator"},
		{"shut down here", diagnosis.Evidence{Peer: plain, Session: in("Idle"), Shutdown: true},
			status.SessionShutdown, "FRR's configuration on this node shuts the session down"},
		{"not configured any more", diagnosis.Evidence{Peer: plain, Session: in("Idle"), Notification: received(6, 3), Notifications: 1},
			status.SessionClosed, "has no such neighbor any more"},
		{"never configured", diagnosis.Evidence{Peer: plain, Session: in("Active"), Looked: long, Sockets: true, OpensSent: 2},
			status.SessionClosed, "10.0.0.1:179 takes the TCP connection and sends no OPEN"},
		{"in OpenSent for long", diagnosis.Evidence{Peer: plain, Session: in("OpenSent"), Looked: time.Minute, Sockets: true},
			status.SessionClosed, "10.0.0.1:179 takes the TCP connection and sends no OPEN"},
		{"TTL security here alone", diagnosis.Evidence{Peer: near, Session: in("OpenSent"), Looked: long, Sockets: true, OpensSent: 1},
			status.SessionClosed, "10.0.0.1:179 takes the TCP connection, and no OPEN arrives with the TTL that is asked for: check that the router has TTL security (RFC 5082) for this node, and is at most 2 hops away"},
		{"TTL security here alone, and a router that answers no SYN with it", diagnosis.Evidence{Peer: near, Session: in("Connect"), Looked: long, Sockets: true, Connecting: true, Unanswered: true, Alive: true},
			status.SessionNoAnswer, "the router answers ping, and no TCP SYN with the TTL that is asked for"},
		{"TTL security, and no answer at all", diagnosis.Evidence{Peer: near, Session: in("Connect"), Looked: long, Sockets: true, Connecting: true, Unanswered: true},
			status.SessionNoAnswer, "check that the router has TTL security (RFC 5082) for this node"},
		{"another reason of the router", diagnosis.Evidence{Peer: plain, Session: in("Idle"), Notification: received(6, 6), Notifications: 1},
			status.SessionRejected, "the router ends the session: Cease/Other Configuration Change"},
		{"another reason of this node", diagnosis.Evidence{Peer: plain, Notification: sent(3, 1), Notifications: 1},
			status.SessionFailed, "this node ends the session: NOTIFICATION 3/1"},
		{"BFD, by a NOTIFICATION", diagnosis.Evidence{Peer: guarded, Session: in("Idle"), Notification: received(6, 10), Notifications: 1},
			status.SessionBFD, "BFD is down"},
		{"waits for BFD", diagnosis.Evidence{Peer: guarded, Session: status.Session{State: "Idle", BFD: "down", BFDDiagnostic: "control detection time expired"}, Looked: long, Sockets: true},
			status.SessionBFD, "FRR waits for BFD, which is down (control detection time expired): enable BFD for this neighbor on the router"},
		{"BFD has just ended it", diagnosis.Evidence{Peer: guarded, Session: status.Session{State: "Connect", BFD: "down", BFDDiagnostic: "control detection time expired"}, Looked: 2 * time.Second, Obstacle: status.ObstacleBFD},
			status.SessionBFD, "BFD has ended the session, and is down (control detection time expired)"},
		{"BFD has ended it, and the router does not come back", diagnosis.Evidence{Peer: guarded, Session: status.Session{State: "Connect", BFD: "down"}, Looked: long, Sockets: true, Connecting: true, Unanswered: true, Silent: true, Obstacle: status.ObstacleBFD},
			status.SessionNoAnswer, "ARP"},
		{"no idea", diagnosis.Evidence{Peer: plain, Session: in("OpenConfirm"), Looked: long, Sockets: true, OpensSent: 1, OpensReceived: 1},
			status.SessionFailed, "FRR's state is OpenConfirm, its last error Cease/Other Configuration Change"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := diagnosis.Of(tt.e)
			if got.Reason != tt.reason || !strings.Contains(got.Text, tt.text) || (got.Text == "") != (tt.text == "") {
				t.Errorf("%s: %q, want %s: …%s…", got.Reason, got.Text, tt.reason, tt.text)
			}
		})
	}
}
