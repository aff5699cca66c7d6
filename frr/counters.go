// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/status"
)

// bfddTimeout is how long bfdd may take to answer. It is short, so that a bfdd that
// hangs leaves the caller time for bgpd.
const bfddTimeout = 2 * time.Second

// Counters are the counters of FRR, over all VRFs.
type Counters struct {
	BGP []BGPCounters // in the order of VRF and peer
	BFD []BFDCounters // likewise

	BFDError error // why BFD is empty; nil if bfdd has answered, or was not asked
}

// A BGPCounters has the counters of one BGP session.
type BGPCounters struct {
	VRF              string
	Peer             string // its address, or our interface if it is unnumbered
	Port             uint16 // the peer's; 0 means 179
	Up               bool
	PrefixesSent     int // in the peer's Adj-RIB-Out, over all families
	PrefixesAccepted int // from the peer, over all families

	OpensSent, OpensReceived                 uint64
	NotificationsSent, NotificationsReceived uint64
	UpdatesSent, UpdatesReceived             uint64
	KeepalivesSent, KeepalivesReceived       uint64
	RouteRefreshSent, RouteRefreshReceived   uint64
	TotalSent, TotalReceived                 uint64

	// GracefulRestart reports that both ends have agreed that the peer keeps our
	// routes while we restart. RFC 4724, Section 3.
	GracefulRestart bool
}

// A BFDCounters has the counters of the BFD sessions with one peer in one VRF. Raw
// configuration can add sessions with a peer: over two interfaces, from two local
// addresses, or a single-hop and a multihop one. The counters are their sums, and Up
// is set if one of them is up.
type BFDCounters struct {
	VRF       string
	Peer      netip.Addr
	Interface string // where the peer is, if its address is a link-local one
	Up        bool

	ControlInput, ControlOutput uint64
	EchoInput, EchoOutput       uint64
	UpEvents, DownEvents        uint64
	ZebraNotifications          uint64
}

// Name returns the peer's address, with the interface if that is a link-local one.
func (c BFDCounters) Name() string { return bfdKey{Peer: c.Peer, Interface: c.Interface}.name() }

// Counters returns the counters of bgpd and, with bfd, of bfdd. If bfdd does not answer
// properly in two seconds, BFD is empty and BFDError says why.
func (r *Reader) Counters(ctx context.Context, bfd bool) (Counters, error) {
	text, err := r.ask(ctx, conf.BGPD, showSessions)
	if err != nil {
		return Counters{}, err
	}
	var c Counters
	if c.BGP, err = DecodeBGPCounters([]byte(text)); err != nil {
		return Counters{}, fmt.Errorf("%s: %w", conf.BGPD, err)
	}
	if text, err = r.ask(ctx, conf.BGPD, "show running-config"); err != nil {
		return Counters{}, err
	}
	ports := conf.Parse(text).Ports()
	for i, s := range c.BGP {
		c.BGP[i].Port = ports[status.PeerOf(s.VRF, s.Peer)]
	}
	if bfd {
		c.BFD, c.BFDError = r.bfdCounters(ctx)
	}
	return c, nil
}

func (r *Reader) bfdCounters(ctx context.Context) ([]BFDCounters, error) {
	ctx, cancel := context.WithTimeout(ctx, bfddTimeout)
	defer cancel()
	counters, err := r.ask(ctx, conf.BFDD, "show bfd peers counters json")
	if err != nil {
		return nil, err
	}
	states, err := r.ask(ctx, conf.BFDD, "show bfd peers json")
	if err != nil {
		return nil, err
	}
	c, err := DecodeBFDCounters([]byte(counters), []byte(states))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", conf.BFDD, err)
	}
	return c, nil
}

// DecodeBGPCounters reads the output of bgpd for "show bgp vrf all neighbors json".
func DecodeBGPCounters(text []byte) ([]BGPCounters, error) {
	var all []BGPCounters
	err := eachNeighbor(text, func(vrf, name string, value []byte) error {
		var n rawCounters
		if err := json.Unmarshal(value, &n); err != nil {
			return err
		}
		all = append(all, n.counters(vrf, name))
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b BGPCounters) int {
		return cmp.Or(cmp.Compare(a.VRF, b.VRF), cmp.Compare(a.Peer, b.Peer))
	})
	return all, nil
}

// A rawCounters has the counters of a neighbor in bgpd's JSON.
type rawCounters struct {
	State    string `json:"bgpState"`
	Messages struct {
		OpensSent         uint64 `json:"opensSent"`
		OpensRecv         uint64 `json:"opensRecv"`
		NotificationsSent uint64 `json:"notificationsSent"`
		NotificationsRecv uint64 `json:"notificationsRecv"`
		UpdatesSent       uint64 `json:"updatesSent"`
		UpdatesRecv       uint64 `json:"updatesRecv"`
		KeepalivesSent    uint64 `json:"keepalivesSent"`
		KeepalivesRecv    uint64 `json:"keepalivesRecv"`
		RouteRefreshSent  uint64 `json:"routeRefreshSent"`
		RouteRefreshRecv  uint64 `json:"routeRefreshRecv"`
		TotalSent         uint64 `json:"totalSent"`
		TotalRecv         uint64 `json:"totalRecv"`
	} `json:"messageStats"`
	Restart  rawRestart           `json:"gracefulRestartInfo"`
	Families map[string]rawFamily `json:"addressFamilyInfo"`
}

func (n rawCounters) counters(vrf, name string) BGPCounters {
	c := BGPCounters{
		VRF:                   vrf,
		Peer:                  name,
		Up:                    n.State == "Established",
		OpensSent:             n.Messages.OpensSent,
		OpensReceived:         n.Messages.OpensRecv,
		NotificationsSent:     n.Messages.NotificationsSent,
		NotificationsReceived: n.Messages.NotificationsRecv,
		UpdatesSent:           n.Messages.UpdatesSent,
		UpdatesReceived:       n.Messages.UpdatesRecv,
		KeepalivesSent:        n.Messages.KeepalivesSent,
		KeepalivesReceived:    n.Messages.KeepalivesRecv,
		RouteRefreshSent:      n.Messages.RouteRefreshSent,
		RouteRefreshReceived:  n.Messages.RouteRefreshRecv,
		TotalSent:             n.Messages.TotalSent,
		TotalReceived:         n.Messages.TotalRecv,
	}
	c.GracefulRestart = c.Up && n.Restart.kept()
	for _, f := range n.Families {
		c.PrefixesSent += f.Sent
		c.PrefixesAccepted += f.Accepted
	}
	return c
}

// A bfdKey identifies a session of bfdd.
type bfdKey struct {
	Peer      netip.Addr `json:"peer"`
	VRF       string     `json:"vrf"`
	Interface string     `json:"interface"`
}

// known returns the key without its interface, unless the address is a link-local
// one. bfdd fills in the interface of other sessions too, once it knows it. A zone of the
// address is its interface.
func (k bfdKey) known() bfdKey {
	k.Interface = cmp.Or(k.Interface, k.Peer.Zone())
	k.Peer = k.Peer.WithZone("")
	if !k.Peer.IsLinkLocalUnicast() {
		k.Interface = ""
	}
	return k
}

// name returns the peer's address, with the interface if there is one.
func (k bfdKey) name() string { return k.Peer.WithZone(k.Interface).String() }

// DecodeBFDCounters reads the output of bfdd for "show bfd peers counters json" and
// for "show bfd peers json". The latter says whether the sessions are up.
func DecodeBFDCounters(counters, states []byte) ([]BFDCounters, error) {
	var now []struct {
		bfdKey
		Status string `json:"status"`
	}
	if err := json.Unmarshal(states, &now); err != nil {
		return nil, err
	}
	up := make(map[bfdKey]bool)
	for _, s := range now {
		up[s.known()] = up[s.known()] || s.Status == "up"
	}
	var raw []struct {
		bfdKey
		ControlInput  uint64 `json:"control-packet-input"`
		ControlOutput uint64 `json:"control-packet-output"`
		EchoInput     uint64 `json:"echo-packet-input"`
		EchoOutput    uint64 `json:"echo-packet-output"`
		Up            uint64 `json:"session-up"`
		Down          uint64 `json:"session-down"`
		Zebra         uint64 `json:"zebra-notifications"`
	}
	if err := json.Unmarshal(counters, &raw); err != nil {
		return nil, err
	}
	sums := make(map[bfdKey]BFDCounters)
	for _, c := range raw {
		k := c.known()
		if !k.Peer.IsValid() {
			continue
		}
		s := sums[k]
		sums[k] = BFDCounters{
			VRF: k.VRF, Peer: k.Peer, Interface: k.Interface, Up: up[k],
			ControlInput: s.ControlInput + c.ControlInput, ControlOutput: s.ControlOutput + c.ControlOutput,
			EchoInput: s.EchoInput + c.EchoInput, EchoOutput: s.EchoOutput + c.EchoOutput,
			UpEvents: s.UpEvents + c.Up, DownEvents: s.DownEvents + c.Down,
			ZebraNotifications: s.ZebraNotifications + c.Zebra,
		}
	}
	all := slices.Collect(maps.Values(sums))
	slices.SortFunc(all, func(a, b BFDCounters) int {
		return cmp.Or(cmp.Compare(a.VRF, b.VRF), a.Peer.Compare(b.Peer), cmp.Compare(a.Interface, b.Interface))
	})
	return all, nil
}
