// SPDX-License-Identifier: Apache-2.0

package sidecar

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/frr/vty"
)

// A StopMode says how FRR ends its sessions.
type StopMode string

const (
	// StopAuto is graceful restart if every session can, and else GSHUT.
	StopAuto StopMode = "auto"
	// StopGracefulRestart sends the peers nothing: they keep the routes until their
	// restart timers end. RFC 4724.
	StopGracefulRestart StopMode = "graceful-restart"
	// StopGSHUT first marks the routes with the GRACEFUL_SHUTDOWN community, so that
	// the peers prefer others, and closes the sessions later. RFC 8326.
	StopGSHUT StopMode = "gshut"
	// StopWithdraw closes the sessions at once.
	StopWithdraw StopMode = "withdraw"
)

// ParseStopMode returns the mode with a name.
func ParseStopMode(s string) (StopMode, error) {
	switch m := StopMode(s); m {
	case StopAuto, StopGracefulRestart, StopGSHUT, StopWithdraw:
		return m, nil
	}
	return "", fmt.Errorf("%q: want auto, graceful-restart, gshut or withdraw", s)
}

// stopTimeout bounds the questions before a stop, and then the commands.
const stopTimeout = 3 * time.Second

// lastLimit is how long the sessions stay at most because no other node announces
// the routes. With all that comes before, it is less than the pod's grace period of
// 30 s.
const (
	lastLimit = 15 * time.Second
	lastLook  = 200 * time.Millisecond
)

// preparePeers has the peers move traffic away if need be, and returns how bgpd is
// to end.
func (s *Supervisor) preparePeers(ctx context.Context) StopMode {
	mode := s.opts.Stop
	if mode == StopGracefulRestart || mode == StopWithdraw {
		return mode
	}
	counters, err := s.count(ctx)
	if err != nil {
		s.opts.Logger.Warn("peers not warned", "err", err)
		return StopWithdraw // bgpd does not answer: it cannot send GSHUT
	}
	if counters.BFDError != nil && mode == StopAuto {
		s.opts.Logger.Warn("no graceful restart: which sessions have BFD is not known", "err", counters.BFDError)
	}
	switch canRestart(counters) {
	case noSessions:
		return StopWithdraw
	case all:
		if mode == StopAuto {
			return StopGracefulRestart
		}
	}
	if err := s.sendGSHUT(ctx); err != nil {
		s.opts.Logger.Warn("peers not warned", "err", err)
		return StopWithdraw
	}
	select {
	case <-time.After(s.opts.StopWait):
		s.awaitOthers(ctx)
	case <-ctx.Done():
	}
	return StopGSHUT
}

// awaitOthers waits until other nodes announce what this one does, as far as the
// agent reports that they do not.
func (s *Supervisor) awaitOthers(ctx context.Context) {
	if s.opts.Last == nil || !s.opts.Last() {
		return
	}
	s.opts.Logger.Info("sessions stay for now", "reason", "no other node announces some of the routes")
	look := time.NewTicker(lastLook)
	defer look.Stop()
	for end := time.Now().Add(lastLimit); s.opts.Last(); {
		if !time.Now().Before(end) {
			s.opts.Logger.Warn("sessions closed, though no other node announces some of the routes")
			return
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// count asks FRR for the sessions.
func (s *Supervisor) count(ctx context.Context) (frr.Counters, error) {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	reader := frr.NewReader(s.opts.RunDir)
	defer reader.Close()
	return reader.Counters(ctx, s.Serves(conf.BFDD))
}

// sendGSHUT has bgpd tell the peers that the sessions will end.
func (s *Supervisor) sendGSHUT(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	return shutDownGracefully(ctx, filepath.Join(s.opts.RunDir, bgpd+".vty"))
}

// A share of the sessions.
type share int

const (
	noSessions share = iota
	some
	all
)

// canRestart returns how many of the sessions that are up survive a restart of
// bgpd. A session with BFD does not: when BFD ends, the peer drops the routes. If it
// is not known which sessions have BFD, none survives.
func canRestart(c frr.Counters) share {
	guarded := make(map[string]bool)
	for _, b := range c.BFD {
		guarded[b.VRF+" "+b.Peer.String()] = true
		if b.Interface != "" {
			guarded[b.VRF+" "+b.Interface] = true // as bgpd names an unnumbered peer
		}
	}
	up, can := 0, 0
	for _, s := range c.BGP {
		if !s.Up {
			continue
		}
		up++
		if s.GracefulRestart && c.BFDError == nil && !guarded[s.VRF+" "+s.Peer] {
			can++
		}
	}
	switch {
	case up == 0:
		return noSessions
	case can == up:
		return all
	}
	return some
}

// shutDownGracefully has bgpd mark all its routes with the GRACEFUL_SHUTDOWN
// community.
func shutDownGracefully(ctx context.Context, socket string) error {
	conn, err := vty.Dial(ctx, socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	text, err := conn.Run(ctx, "show running-config")
	if err != nil {
		return err
	}
	if _, err := conn.Run(ctx, "configure terminal"); err != nil {
		return err
	}
	for _, s := range conf.Parse(text).Sections {
		if !strings.HasPrefix(s.Text, "router bgp ") {
			continue
		}
		for _, command := range []string{s.Text, "bgp graceful-shutdown", "exit"} {
			if _, err := conn.Run(ctx, command); err != nil {
				return err
			}
		}
	}
	return nil
}
