// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/frr/vty"
	"github.com/heraldlb/herald/status"
)

// A Session is the state of one BGP session, as bgpd tells it.
type Session struct {
	Peer         status.PeerID
	ASN          uint32        // the peer's; 0 if not known yet
	LocalASN     uint32        // ours towards the peer
	State        string        // "Established", "Active", "Idle", …: RFC 4271, Section 8.2.2
	Up           bool          // Established
	Shutdown     bool          // shut down by configuration
	Uptime       time.Duration // since it is up; 0 if it is not
	Established  int           // how often it has come up since the neighbor exists
	Dropped      int           // how often it has gone down
	PrefixesSent int           // in the peer's Adj-RIB-Out, over all families
	LastError    string        // why it last went down, or did not come up; empty if never
	BFD          *BFD          // nil if the session has no BFD
	Local        netip.Addr    // this end's address; zero if there is no connection

	Notification  status.Notification // why it last went down, or did not come up, if one says that
	Obstacle      status.Obstacle     // what bgpd waits for, or why it closed the session
	OpensSent     int                 // OPEN messages since the neighbor exists, as those below
	OpensReceived int
	Notifications int // NOTIFICATION messages, sent and received

	// NextHopLost says that the session is up, and that bgpd has no next hop for
	// the IPv6 routes in it. It tells the peer an IPv4 address in the shape of one of
	// IPv6 (RFC 4291, Section 2.5.5.2), by which nothing is reached. FRR 8.4 and 10.3
	// come to this when the interface has been down and the session has outlived
	// that; a new session has the address. Of a session over IPv4 it is said if there
	// are IPv6 routes in it. Its interface may never have had an address for them.
	NextHopLost bool
}

// A BFD is the state of the BFD session that guards a BGP session, as bfdd tells
// it.
type BFD struct {
	Peer       string        // its address, with the interface if that is a link-local one
	Status     string        // "up", "down", "init", "shutdown": RFC 5880, Section 4.1
	Up         bool          // both ends see each other
	Uptime     time.Duration // since it is up; 0 if it is not
	Diagnostic string        // why it went down; "ok" if it did not
}

// A Reader asks FRR for the state of sessions and routes. It has connections of
// its own, so that no question waits for an Applier. It is not safe for
// concurrent use.
type Reader struct {
	dir   string
	conns map[string]*vty.Conn // by daemon
}

// NewReader returns a Reader of the daemons whose vty sockets are in dir. It
// connects when it is asked something.
func NewReader(dir string) *Reader {
	return &Reader{dir: dir, conns: make(map[string]*vty.Conn)}
}

// Close closes the connections.
func (r *Reader) Close() error {
	var errs []error
	for name, c := range r.conns {
		errs = append(errs, c.Close())
		delete(r.conns, name)
	}
	return errors.Join(errs...)
}

// established is what bgpd calls the state of a session that is up.
const established = "Established"

// showSessions is what DecodeSessions reads the answer to.
const showSessions = "show bgp vrf all neighbors json"

// Sessions returns the BGP sessions, in the order of their peers, with the BFD
// sessions that guard them. None if no BGP is configured. A bfdd that does not
// answer in two seconds leaves BFD nil.
func (r *Reader) Sessions(ctx context.Context) ([]Session, error) {
	text, err := r.ask(ctx, conf.BGPD, showSessions)
	if err != nil {
		return nil, err
	}
	sessions, err := DecodeSessions([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", conf.BGPD, err)
	}
	text, err = r.askBFD(ctx)
	if errors.Is(err, vty.ErrUnavailable) && ctx.Err() == nil {
		return sessions, nil
	}
	if err != nil {
		return nil, err
	}
	peers, err := DecodeBFD([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", conf.BFDD, err)
	}
	for i, s := range sessions {
		if b, ok := peers[s.Peer]; ok {
			sessions[i].BFD = &b
		}
	}
	return sessions, nil
}

// askBFD asks bfdd for its sessions.
func (r *Reader) askBFD(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, bfddTimeout)
	defer cancel()
	return r.ask(ctx, conf.BFDD, "show bfd peers json")
}

// AdvertisedTo returns the peers of a VRF that were sent a prefix, in order: in whose
// Adj-RIB-Out it is. None if bgpd does not originate the prefix.
func (r *Reader) AdvertisedTo(ctx context.Context, vrf string, prefix netip.Prefix) ([]status.PeerID, error) {
	prefix = prefix.Masked()
	text, err := r.ask(ctx, conf.BGPD, showBGP(vrf)+family(prefix.Addr())+" unicast "+prefix.String()+" json")
	if err != nil {
		return nil, err
	}
	peers, err := DecodeAdvertisedTo([]byte(text), vrf, prefix)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", conf.BGPD, prefix, err)
	}
	return peers, nil
}

// Reset closes the session with a peer, for bgpd to open it anew.
func (r *Reader) Reset(ctx context.Context, peer status.PeerID) error {
	if _, err := r.ask(ctx, conf.BGPD, conf.Clear(peer.VRF)+" "+peer.Name()); err != nil {
		return fmt.Errorf("%s: %s: reset the session: %w", conf.BGPD, peer, err)
	}
	return nil
}

// showBGP begins a question about a VRF.
func showBGP(vrf string) string {
	if vrf != "" {
		return "show bgp vrf " + vrf + " "
	}
	return "show bgp "
}

// Advertised returns the prefixes of one family that were sent to a peer: its
// Adj-RIB-Out. It costs one question for any number of prefixes. None if the peer
// is not there.
func (r *Reader) Advertised(ctx context.Context, peer status.PeerID, v6 bool) (map[netip.Prefix]bool, error) {
	of := netip.IPv4Unspecified()
	if v6 {
		of = netip.IPv6Unspecified()
	}
	text, err := r.ask(ctx, conf.BGPD, showBGP(peer.VRF)+family(of)+" unicast neighbors "+peer.Name()+" advertised-routes json")
	if err != nil {
		return nil, err
	}
	prefixes, err := DecodeAdvertised([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", conf.BGPD, peer, err)
	}
	return prefixes, nil
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "ipv4"
	}
	return "ipv6"
}

// ask runs a command on a daemon. A connection left from before that turns out
// broken is made anew, once.
func (r *Reader) ask(ctx context.Context, daemon, command string) (string, error) {
	c, reused := r.conns[daemon]
	if !reused {
		var err error
		if c, err = vty.Dial(ctx, filepath.Join(r.dir, daemon+".vty")); err != nil {
			return "", err
		}
		r.conns[daemon] = c
	}
	text, err := c.Run(ctx, command)
	if !errors.Is(err, vty.ErrUnavailable) {
		return text, err
	}
	delete(r.conns, daemon)
	if reused && ctx.Err() == nil {
		return r.ask(ctx, daemon, command)
	}
	return "", err
}

// DecodeSessions reads what bgpd prints for "show bgp vrf all neighbors json".
// That says all that "show bgp summary json" does, of every family at once, and
// why a session is down.
func DecodeSessions(text []byte) ([]Session, error) {
	vrfs, err := decodeObject(text)
	if err != nil {
		return nil, err
	}
	var sessions []Session
	for vrf, value := range vrfs {
		if value[0] != '{' {
			continue // a remark beside the VRFs: "bgpNoSuchInstance", say
		}
		raw, err := decodeObject(value)
		if err != nil {
			return nil, fmt.Errorf("VRF %s: %w", vrf, err)
		}
		for name, value := range raw {
			if value[0] != '{' {
				continue // what it says of the VRF: "vrfId", say
			}
			var n rawNeighbor
			if err := json.Unmarshal(value, &n); err != nil {
				return nil, fmt.Errorf("VRF %s: neighbor %s: %w", vrf, name, err)
			}
			sessions = append(sessions, n.session(status.PeerOf(vrf, name)))
		}
	}
	slices.SortFunc(sessions, func(a, b Session) int { return a.Peer.Compare(b.Peer) })
	return sessions, nil
}

// A rawNeighbor has what is used of a neighbor in bgpd's JSON.
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
	NextHop6    string `json:"nexthopGlobal"` // likewise; "::" is none
	ResetCode   int    `json:"lastResetCode"` // see obstacles
	Messages    struct {
		OpensSent     int `json:"opensSent"`
		OpensReceived int `json:"opensRecv"`
		Sent          int `json:"notificationsSent"`
		Received      int `json:"notificationsRecv"`
	} `json:"messageStats"`
	Families map[string]struct {
		Sent int `json:"sentPrefixCounter"`
	} `json:"addressFamilyInfo"`
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

		Notification:  n.notification(),
		Obstacle:      obstacles[n.ResetCode],
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

// DecodeAdvertisedTo reads what bgpd prints for "show bgp FAMILY unicast PREFIX
// json". bgpd answers with a covering prefix if it has not got the prefix itself;
// that is none.
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
		peers = append(peers, status.PeerOf(vrf, name))
	}
	slices.SortFunc(peers, status.PeerID.Compare)
	return peers, nil
}

// DecodeAdvertised reads what bgpd prints for "show bgp FAMILY unicast neighbors
// PEER advertised-routes json".
func DecodeAdvertised(text []byte) (map[netip.Prefix]bool, error) {
	var raw struct {
		Routes map[netip.Prefix]struct{} `json:"advertisedRoutes"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, err
	}
	prefixes := make(map[netip.Prefix]bool, len(raw.Routes))
	for p := range raw.Routes {
		prefixes[p] = true
	}
	return prefixes, nil
}

// DecodeBFD reads what bfdd prints for "show bfd peers json". An unnumbered
// neighbor is there by its link-local address: what tells it is the interface. Of
// several sessions with one neighbor it has one that is up, if there is any.
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
		b := BFD{Peer: p.known().name(), Status: p.Status, Up: p.Status == "up", Diagnostic: p.Diagnostic}
		if b.Up {
			b.Uptime = time.Duration(p.Uptime) * time.Second
		}
		ids := []status.PeerID{status.PeerOf(p.VRF, p.Peer.String())}
		if p.Peer.IsLinkLocalUnicast() && p.Interface != "" {
			ids = append(ids, status.PeerOf(p.VRF, p.Interface))
		}
		for _, id := range ids {
			if old, ok := peers[id]; !ok || b.before(old) {
				peers[id] = b
			}
		}
	}
	return peers, nil
}

// before orders sessions with the same neighbor: bfdd prints them in no order.
func (b BFD) before(o BFD) bool {
	if b.Up != o.Up {
		return b.Up
	}
	return cmp.Or(cmp.Compare(b.Uptime, o.Uptime), cmp.Compare(b.Status, o.Status), cmp.Compare(b.Diagnostic, o.Diagnostic)) > 0
}

func decodeObject(text []byte) (map[string]json.RawMessage, error) {
	var raw map[string]json.RawMessage
	err := json.Unmarshal(text, &raw)
	return raw, err
}
