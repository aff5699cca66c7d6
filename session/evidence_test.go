// SPDX-License-Identifier: Apache-2.0

package session

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/kernel"
	"github.com/heraldlb/herald/status"
)

// The reason why a session is down follows from what a row of looks has seen of it.
func TestEvidence(t *testing.T) {
	addr := func(s string) netip.Addr { return netip.MustParseAddr(s) }
	keyed := status.Peer{Name: "keyed", Address: addr("10.0.0.1"), ASN: 64513, Wanted: true, Authenticated: true}
	refusing := status.Peer{Name: "refusing", Address: addr("10.0.0.2"), ASN: 64513, Wanted: true}
	away := status.Peer{Name: "away", Address: addr("10.0.0.3"), ASN: 64513, Wanted: true, Authenticated: true}
	elsewhere := status.Peer{Name: "elsewhere", Address: addr("10.0.0.4"), ASN: 64513, Wanted: true}
	wanted := map[status.PeerID]status.Peer{}
	for _, p := range []status.Peer{keyed, refusing, away, elsewhere} {
		wanted[p.ID()] = p
	}
	session := func(p status.Peer, state string) frr.Session { return frr.Session{Peer: p.ID(), State: state} }
	up := session(keyed, "Established")
	up.Up = true
	ended := session(keyed, "Connect")
	ended.LastError, ended.Notification, ended.Notifications = "Cease/Other Configuration Change", status.Notification{Code: 6, Subcode: 6}, 1
	bad := session(elsewhere, "Idle")
	bad.Notification = status.Notification{Code: 2, Subcode: 2, Sent: true}
	unwanted := frr.Session{Peer: status.PeerID{Address: addr("10.0.0.9")}, State: "Active"}

	waits := func(p status.Peer, resent int) kernel.Connection {
		return kernel.Connection{Remote: netip.AddrPortFrom(p.Address, 179), Resent: resent}
	}
	steps := []struct {
		at      int
		keyed   frr.Session
		opens   int // to elsewhere, and so many NOTIFICATIONs
		wrong   uint64
		waiting []kernel.Connection
		want    map[string]status.Reason // by peer; none: it is not known, or the session is up
	}{
		{0, up, 4, 5, nil, map[string]status.Reason{"elsewhere": status.SessionPeerAS}}, // it rests since then
		{2, ended, 5, 9, []kernel.Connection{waits(keyed, 0), waits(away, 0)}, map[string]status.Reason{"elsewhere": status.SessionPeerAS}},
		{6, ended, 5, 9, []kernel.Connection{waits(keyed, 2), waits(away, 1)}, map[string]status.Reason{"elsewhere": status.SessionPeerAS}},
		{12, ended, 6, 9, []kernel.Connection{waits(keyed, 4)}, map[string]status.Reason{
			"keyed": status.SessionPassword, "refusing": status.SessionRefused, "away": status.SessionNoAnswer, "elsewhere": status.SessionPeerAS}},
		{90, ended, 6, 9, []kernel.Connection{waits(keyed, 4)}, map[string]status.Reason{
			"keyed": status.SessionPassword, "refusing": status.SessionRefused, "away": status.SessionNoAnswer, "elsewhere": status.SessionPeerAS}},
		{92, up, 6, 9, nil, map[string]status.Reason{
			"refusing": status.SessionRefused, "away": status.SessionNoAnswer, "elsewhere": status.SessionPeerAS}},
		{94, ended, 6, 9, []kernel.Connection{waits(keyed, 0)}, map[string]status.Reason{
			"refusing": status.SessionRefused, "away": status.SessionNoAnswer, "elsewhere": status.SessionPeerAS}},
		// What was counted before it went down is none of its own.
		{110, ended, 6, 9, []kernel.Connection{waits(keyed, 3)}, map[string]status.Reason{
			"keyed": status.SessionNoAnswer, "refusing": status.SessionRefused, "away": status.SessionNoAnswer, "elsewhere": status.SessionPeerAS}},
	}
	var e evidence
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, s := range steps {
		bad.OpensSent, bad.OpensReceived, bad.Notifications = s.opens, s.opens, s.opens
		all := []frr.Session{s.keyed, session(refusing, "Active"), session(away, "Active"), bad, unwanted}
		got := e.next(start.Add(time.Duration(s.at)*time.Second), all, wanted, sight{
			signatures: kernel.Signatures{Wrong: s.wrong}, sockets: true, connecting: s.waiting,
			silent: map[netip.Addr]bool{away.Address: true},
		})
		for id, p := range wanted {
			if d := got[id]; d.Reason != s.want[p.Name] {
				t.Errorf("after %d s: %s is %q, want %q: %s", s.at, p.Name, d.Reason, s.want[p.Name], d.Text)
			}
			if strings.Contains(got[id].Text, "another peer") {
				t.Errorf("after %d s: there is no other suspect than keyed: %s", s.at, got[id].Text)
			}
		}
		if _, ok := got[unwanted.Peer]; ok {
			t.Errorf("after %d s: a session that is not wanted is explained", s.at)
		}
	}
}

// The connection that waits is found by address and port, or by its interface.
func TestConnectionTo(t *testing.T) {
	lo := status.Peer{Interface: "lo"}
	s := sight{connecting: []kernel.Connection{
		{Remote: netip.MustParseAddrPort("10.0.0.1:179"), Resent: 1},
		{Remote: netip.MustParseAddrPort("10.0.0.1:1179"), Resent: 2},
		{Remote: netip.MustParseAddrPort("[fe80::1]:179"), Interface: 1, Resent: 3},
	}}
	for _, tt := range []struct {
		name string
		p    status.Peer
		want int // resent; 0: there is none
	}{
		{"usual port", status.Peer{Address: netip.MustParseAddr("10.0.0.1")}, 1},
		{"another port", status.Peer{Address: netip.MustParseAddr("10.0.0.1"), Port: 1179}, 2},
		{"unnumbered", lo, 3},
		{"another interface", status.Peer{Interface: "nil0"}, 0},
		{"another address", status.Peer{Address: netip.MustParseAddr("10.0.0.2")}, 0},
	} {
		if c, ok := s.connectionTo(tt.p); c.Resent != tt.want || ok != (tt.want > 0) {
			t.Errorf("%s: %+v, %v", tt.name, c, ok)
		}
	}
}

// A router that answers no SYN is asked with a ping whether it is there, and not for
// ever.
func TestEvidenceOfPing(t *testing.T) {
	p := status.Peer{Name: "keyed", Address: netip.MustParseAddr("10.0.0.1"), ASN: 64513, Wanted: true, Authenticated: true}
	wanted := map[status.PeerID]status.Peer{p.ID(): p}
	pings, answers := 0, false
	e := evidence{ping: func(asked status.Peer) bool {
		if asked.Name != p.Name {
			t.Errorf("%s is asked", asked.Name)
		}
		pings++
		return answers
	}}
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	look := func(at, resent int, silent bool) status.Reason {
		s := sight{sockets: true, silent: map[netip.Addr]bool{p.Address: silent}}
		if resent >= 0 {
			s.connecting = []kernel.Connection{{Remote: netip.AddrPortFrom(p.Address, 179), Resent: resent}}
		}
		state := "Connect"
		if resent < 0 {
			state = "Active"
		}
		return e.next(start.Add(time.Duration(at)*time.Second), []frr.Session{{Peer: p.ID(), State: state}}, wanted, s)[p.ID()].Reason
	}
	steps := []struct {
		name       string
		at, resent int // resent below 0: there is no connection
		silent     bool
		answers    bool
		pings      int // so far
		want       status.Reason
	}{
		{"the first SYN", 0, 0, false, false, 0, ""},
		{"the second one", 2, 1, false, false, 1, ""},
		{"not again at once", 4, 2, false, false, 1, ""},
		{"it does not answer ping either", 12, 4, false, false, 2, status.SessionNoAnswer},
		{"nor ARP", 24, 4, true, true, 2, status.SessionNoAnswer},
		{"it answers ping", 26, 4, false, true, 3, status.SessionPassword},
		{"that is known", 60, 4, false, false, 3, status.SessionPassword},
		{"it refuses, for long", 120, -1, false, false, 3, status.SessionRefused},
		{"and answers no more", 122, 1, false, false, 4, status.SessionNoAnswer},
	}
	for _, s := range steps {
		answers = s.answers
		if got := look(s.at, s.resent, s.silent); got != s.want || pings != s.pings {
			t.Errorf("%s: %q after %d pings, want %q after %d", s.name, got, pings, s.want, s.pings)
		}
	}
}
