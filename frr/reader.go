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

// A Reader asks FRR for the state of sessions and routes. It has its own
// connections, so that no question waits for an Applier. It is not safe for
// concurrent use.
type Reader struct {
	dir   string
	conns map[string]*vty.Conn // by daemon
	bgp   *Poller              // which asks bgpd for sessions; nil: the Reader does
}

// NewReader returns a Reader of the daemons whose vty sockets are in dir. It
// connects with the first question.
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

// Sessions returns the BGP sessions and their BFD sessions, in the order of their
// peers; none if BGP is not configured. If bfdd does not answer in two seconds, BFD
// is nil.
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

// AdvertisedTo returns the peers of a VRF that have a prefix in their Adj-RIB-Out,
// in order; none if bgpd does not originate the prefix.
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

// Reset closes the session with a peer. bgpd opens it again.
func (r *Reader) Reset(ctx context.Context, peer status.PeerID) error {
	if _, err := r.ask(ctx, conf.BGPD, conf.Clear(peer.VRF)+" "+peer.Name()); err != nil {
		return fmt.Errorf("%s: %s: reset the session: %w", conf.BGPD, peer, err)
	}
	return nil
}

// showBGP returns the beginning of a question about a VRF.
func showBGP(vrf string) string {
	if vrf != "" {
		return "show bgp vrf " + vrf + " "
	}
	return "show bgp "
}

// Advertised returns the prefixes of one family in a peer's Adj-RIB-Out; none if
// bgpd does not have the peer. It takes one question for any number of prefixes.
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

// ask runs a command on a daemon. If the connection of an earlier question turns out
// to be broken, ask connects again, once.
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
