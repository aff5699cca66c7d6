// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/status"
)

// A Session is the state of one BGP session as bgpd reports it.
type Session struct {
	Peer         status.PeerID
	ASN          uint32        // the peer's; 0 if not known yet
	LocalASN     uint32        // ours, as the peer sees it
	State        string        // "Established", "Active", "Idle", …: RFC 4271, Section 8.2.2
	Up           bool          // Established
	Shutdown     bool          // shut down by configuration
	Uptime       time.Duration // since it came up; 0 if it is not up
	Established  int           // how often it has come up since the neighbor exists
	Dropped      int           // how often it has gone down
	PrefixesSent int           // in the peer's Adj-RIB-Out, over all families
	LastError    string        // why it last went down or did not come up; empty if it never failed
	BFD          *BFD          // nil if the session has no BFD
	Local        netip.Addr    // this end's address; zero if there is no connection

	Details   *status.SessionDetails // of both ends, without the last reset
	LastReset *Reset                 // nil if it never was

	Notification  status.Notification // the last one, which says why it went down or did not come up
	Obstacle      status.Obstacle     // what bgpd waits for, or why it closed the session
	OpensSent     int                 // OPEN messages since the neighbor exists
	OpensReceived int
	Notifications int // NOTIFICATION messages, sent and received

	// NextHopLost reports that the session is up, but bgpd has no next hop for its
	// IPv6 routes. bgpd then sends the peer an IPv4-mapped IPv6 address (RFC 4291,
	// Section 2.5.5.2), which leads nowhere. With FRR 8.4 and 10.3 this happens when a
	// session outlives that its interface is down. A new session has a next hop again.
	// For a session over IPv4 it is set only if there are IPv6 routes in it: its
	// interface may never have had an IPv6 address.
	NextHopLost bool
}

// A BFD is the state of the BFD session of a BGP session, as bfdd reports it.
type BFD struct {
	Peer       string        // its address, with the interface if that is a link-local one
	Status     string        // "up", "down", "init", "shutdown": RFC 5880, Section 4.1
	Up         bool          // both ends see each other
	Uptime     time.Duration // since it came up; 0 if it is not up
	Diagnostic string        // why it went down; "ok" if it did not
}

// established is bgpd's word for the state of a session that is up.
const established = "Established"

// showSessions is the command whose output DecodeSessions reads.
const showSessions = "show bgp vrf all neighbors json"

// DecodeSessions reads the output of bgpd for "show bgp vrf all neighbors json". It
// has all that "show bgp summary json" has, for every family at once, and the reason
// why a session is down.
func DecodeSessions(text []byte) ([]Session, error) {
	var sessions []Session
	err := eachNeighbor(text, func(vrf, name string, value []byte) error {
		var n rawNeighbor
		if err := json.Unmarshal(value, &n); err != nil {
			return err
		}
		sessions = append(sessions, n.session(status.PeerOf(vrf, name)))
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(sessions, func(a, b Session) int { return a.Peer.Compare(b.Peer) })
	return sessions, nil
}

// A rawNeighbor has the used fields of a neighbor in bgpd's JSON.
type rawNeighbor struct {
	RemoteAS    uint32 `json:"remoteAs"`
	LocalAS     uint32 `json:"localAs"`
	State       string `json:"bgpState"`
	Shutdown    bool   `json:"adminShutDown"`
	UpMsec      int64  `json:"bgpTimerUpMsec"`
	Established int    `json:"connectionsEstablished"`
	Dropped     int    `json:"connectionsDropped"`
	DueTo       string `json:"lastResetDueTo"`
	ErrorCode   string `json:"lastErrorCodeSubcode"`
	Notified    string `json:"lastNotificationReason"`
	HostLocal   string `json:"hostLocal"`     // or "Unknown"
	NextHop6    string `json:"nexthopGlobal"` // or "Unknown"; "::" is none
	ResetCode   int    `json:"lastResetCode"` // see obstacles
	Messages    struct {
		OpensSent     int `json:"opensSent"`
		OpensReceived int `json:"opensRecv"`
		Sent          int `json:"notificationsSent"`
		Received      int `json:"notificationsRecv"`
	} `json:"messageStats"`
	Families map[string]rawFamily `json:"addressFamilyInfo"`
	rawDetails
}

func (n rawNeighbor) session(id status.PeerID) Session {
	s := Session{
		Peer:        id,
		ASN:         n.RemoteAS,
		LocalASN:    n.LocalAS,
		State:       n.State,
		Up:          n.State == established,
		Shutdown:    n.Shutdown,
		Established: n.Established,
		Dropped:     n.Dropped,
		LastError:   n.DueTo,

		Notification: n.notification(),
		Obstacle:     obstacles[n.ResetCode],
		Details:      n.details(),
		LastReset:    n.reset(),

		OpensSent:     n.Messages.OpensSent,
		OpensReceived: n.Messages.OpensReceived,
		Notifications: n.Messages.Sent + n.Messages.Received,
	}
	if n.Notified != "" {
		s.LastError = n.Notified
	}
	if s.Up {
		s.Uptime = time.Duration(n.UpMsec) * time.Millisecond
	}
	for _, f := range n.Families {
		s.PrefixesSent += f.Sent
	}
	s.Local, _ = netip.ParseAddr(n.HostLocal)
	six, v6 := n.Families["ipv6Unicast"]
	hop, err := netip.ParseAddr(n.NextHop6)
	counts := v6 && s.Local.Is6() && !s.Local.IsLinkLocalUnicast() || s.Local.Is4() && six.Sent > 0
	s.NextHopLost = s.Up && counts && err == nil && (hop.IsUnspecified() || hop.Is4In6())
	return s
}

// DecodeAdvertisedTo reads the output of bgpd for "show bgp FAMILY unicast PREFIX
// json". If bgpd does not have the prefix it answers with a covering one, which does
// not count.
func DecodeAdvertisedTo(text []byte, vrf string, prefix netip.Prefix) ([]status.PeerID, error) {
	var raw struct {
		Prefix       netip.Prefix               `json:"prefix"`
		AdvertisedTo map[string]json.RawMessage `json:"advertisedTo"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, err
	}
	if raw.Prefix != prefix {
		return nil, nil
	}
	var peers []status.PeerID
	for name := range raw.AdvertisedTo {
		if name == "" {
			continue
		}
		peers = append(peers, status.PeerOf(vrf, name))
	}
	slices.SortFunc(peers, status.PeerID.Compare)
	return peers, nil
}

// DecodeAdvertised reads the output of bgpd for "show bgp FAMILY unicast neighbors
// PEER advertised-routes json". A peer without the family has no routes.
func DecodeAdvertised(text []byte) (map[netip.Prefix]bool, error) {
	var raw struct {
		Routes map[netip.Prefix]struct{} `json:"advertisedRoutes"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		if isWarning(text) {
			return nil, nil
		}
		return nil, err
	}
	prefixes := make(map[netip.Prefix]bool, len(raw.Routes))
	for p := range raw.Routes {
		if p.IsValid() {
			prefixes[p] = true
		}
	}
	return prefixes, nil
}

// isWarning reports whether bgpd has nothing but a warning to say. FRR 10 puts a second
// pair of braces around one, which is no JSON.
func isWarning(text []byte) bool {
	text = bytes.TrimSpace(text)
	inner, opens := bytes.CutPrefix(text, []byte("{"))
	inner, closes := bytes.CutSuffix(inner, []byte("}"))
	var raw struct {
		Warning string `json:"warning"`
	}
	return opens && closes && json.Unmarshal(inner, &raw) == nil && raw.Warning != ""
}

// DecodeBFD reads the output of bfdd for "show bfd peers json". bfdd has an
// unnumbered neighbor by its link-local address, so that the interface identifies
// it. Of several sessions with one neighbor the result has one that is up, if any is.
func DecodeBFD(text []byte) (map[status.PeerID]BFD, error) {
	var raw []struct {
		bfdKey
		Status     string `json:"status"`
		Uptime     int64  `json:"uptime"` // seconds
		Diagnostic string `json:"diagnostic"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, err
	}
	peers := make(map[status.PeerID]BFD, len(raw))
	for _, p := range raw {
		known := p.known()
		if !known.Peer.IsValid() {
			continue
		}
		b := BFD{Peer: known.name(), Status: p.Status, Up: p.Status == "up", Diagnostic: p.Diagnostic}
		if b.Up {
			b.Uptime = time.Duration(p.Uptime) * time.Second
		}
		ids := []status.PeerID{status.PeerOf(p.VRF, known.Peer.String())}
		if known.Interface != "" {
			ids = append(ids, status.PeerOf(p.VRF, known.Interface))
		}
		for _, id := range ids {
			if old, ok := peers[id]; !ok || b.before(old) {
				peers[id] = b
			}
		}
	}
	return peers, nil
}

// before orders sessions with the same neighbor, which bfdd prints in any order.
func (b BFD) before(o BFD) bool {
	if b.Up != o.Up {
		return b.Up
	}
	return cmp.Or(cmp.Compare(b.Uptime, o.Uptime), cmp.Compare(b.Status, o.Status), cmp.Compare(b.Diagnostic, o.Diagnostic)) > 0
}

// eachNeighbor calls decode with each neighbor in the output of bgpd for "show bgp vrf all
// neighbors json".
func eachNeighbor(text []byte, decode func(vrf, name string, value []byte) error) error {
	vrfs, err := decodeObject(text)
	if err != nil {
		return err
	}
	for vrf, value := range vrfs {
		if value[0] != '{' {
			continue // not a VRF but a remark, such as "bgpNoSuchInstance"
		}
		neighbors, err := decodeObject(value)
		if err != nil {
			return fmt.Errorf("VRF %s: %w", vrf, err)
		}
		for name, value := range neighbors {
			if name == "" || value[0] != '{' {
				continue // not a neighbor but a property of the VRF, such as "vrfId"
			}
			if err := decode(vrf, name, value); err != nil {
				return fmt.Errorf("VRF %s: neighbor %s: %w", vrf, name, err)
			}
		}
	}
	return nil
}

func decodeObject(text []byte) (map[string]json.RawMessage, error) {
	var raw map[string]json.RawMessage
	err := json.Unmarshal(text, &raw)
	return raw, err
}
