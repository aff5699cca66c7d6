// SPDX-License-Identifier: Apache-2.0

package main

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

// A stopMode says how FRR takes leave of its peers.
type stopMode string

const (
	// stopAuto is graceful restart if every session can, and else GSHUT.
	stopAuto stopMode = "auto"
	// stopGracefulRestart says nothing to the peers: they keep the routes until
	// their restart timers end. RFC 4724.
	stopGracefulRestart stopMode = "graceful-restart"
	// stopGSHUT first marks the routes with the GRACEFUL_SHUTDOWN community, so that
	// the peers prefer others, and closes the sessions later. RFC 8326.
	stopGSHUT stopMode = "gshut"
	// stopWithdraw closes the sessions at once.
	stopWithdraw stopMode = "withdraw"
)

func parseStopMode(s string) (stopMode, error) {
	switch m := stopMode(s); m {
	case stopAuto, stopGracefulRestart, stopGSHUT, stopWithdraw:
		return m, nil
	}
	return "", fmt.Errorf("--stop %q: want auto, graceful-restart, gshut or withdraw", s)
}

// farewellTimeout bounds the questions of a farewell, and then its commands.
const farewellTimeout = 3 * time.Second

// outlastLimit is how long the sessions stay at most for want of another node that
// announces the routes. With all that comes before, it is less than the pod's grace
// period of 30 s.
const (
	outlastLimit = 15 * time.Second
	outlastLook  = 200 * time.Millisecond
)

// farewell prepares the peers for the end, and says how it is to come.
func (s *supervisor) farewell(ctx context.Context) stopMode {
	mode := s.opts.Stop
	if mode == stopGracefulRestart || mode == stopWithdraw {
		return mode
	}
	counters, err := s.count(ctx)
	if err != nil {
		s.opts.Logger.Warn("peers not warned", "err", err)
		return stopWithdraw // there is no bgpd to say more
	}
	if counters.BFDError != nil && mode == stopAuto {
		s.opts.Logger.Warn("no graceful restart: which sessions have BFD is not known", "err", counters.BFDError)
	}
	switch canRestart(counters) {
	case noSessions:
		return stopWithdraw
	case all:
		if mode == stopAuto {
			return stopGracefulRestart
		}
	}
	if err := s.warn(ctx); err != nil {
		s.opts.Logger.Warn("peers not warned", "err", err)
		return stopWithdraw
	}
	select {
	case <-time.After(s.opts.StopWait):
		s.outlast(ctx)
	case <-ctx.Done():
	}
	return stopGSHUT
}

// outlast waits, while the agent says so, for another node to announce what this one
// does.
func (s *supervisor) outlast(ctx context.Context) {
	if s.opts.Last == nil || !s.opts.Last() {
		return
	}
	s.opts.Logger.Info("sessions stay for now", "reason", "no other node announces some of the routes")
	look := time.NewTicker(outlastLook)
	defer look.Stop()
	for end := time.Now().Add(outlastLimit); s.opts.Last(); {
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
func (s *supervisor) count(ctx context.Context) (frr.Counters, error) {
	ctx, cancel := context.WithTimeout(ctx, farewellTimeout)
	defer cancel()
	reader := s.reader()
	defer reader.Close()
	return reader.Counters(ctx)
}

// warn tells the peers that the sessions will end.
func (s *supervisor) warn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, farewellTimeout)
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

// canRestart says how many of the sessions that are up outlast a restart of bgpd.
// One that BFD guards does not: the peer takes the end of BFD for ours. None does
// if it is not known which those are.
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
