// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"context"
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

// A Reader asks FRR for the state of sessions and routes. It has connections of
// its own, so that no question waits for an Applier. It is not safe for
// concurrent use.
type Reader struct {
	dir   string
	conns map[string]*vty.Conn // by daemon
	bgp   *Poller              // which asks bgpd for sessions; nil: the Reader does
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

// Sessions returns the BGP sessions, in the order of their peers, with the BFD
// sessions that guard them. None if no BGP is configured. A bfdd that does not
// answer in two seconds leaves BFD nil.
func (r *Reader) Sessions(ctx context.Context) ([]Session, error) {
	sessions, err := r.bgpSessions(ctx)
	if err != nil {
		return nil, err
	}
	text, err := r.askBFD(ctx)
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
	sessions = slices.Clone(sessions) // others have them, too
	for i, s := range sessions {
		if b, ok := peers[s.Peer]; ok {
			sessions[i].BFD = &b
		}
	}
	return sessions, nil
}

// bgpSessions returns bgpd's part of Sessions, which the caller must not change.
func (r *Reader) bgpSessions(ctx context.Context) ([]Session, error) {
	if r.bgp != nil {
		return r.bgp.Sessions(ctx, time.Now())
	}
	text, err := r.ask(ctx, conf.BGPD, showSessions)
	if err != nil {
		return nil, err
	}
	sessions, err := DecodeSessions([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", conf.BGPD, err)
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
