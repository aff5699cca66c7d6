// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
)

const (
	// askInterval is how old the answer to "is the session up?" may be.
	askInterval = 2 * time.Second
	// askHurry is likewise, while others rely on it.
	askHurry = 500 * time.Millisecond
	// askTimeout is how long FRR may take to answer.
	askTimeout = 5 * time.Second
	// mendWait is the time after a session was reset for its next hop until it may
	// be reset again, should it never have had one in between. It doubles each time,
	// up to mendWaitMax.
	mendWait    = 10 * time.Second
	mendWaitMax = 10 * time.Minute
)

// A reader asks FRR for its sessions.
type reader interface {
	Sessions(ctx context.Context) ([]frr.Session, error)
	Reset(ctx context.Context, peer status.PeerID) error
	Close() error
}

// sessionsOptions are what sessions work with. All of it is required.
type sessionsOptions struct {
	Reader  reader
	Reopen  func(context.Context, status.PeerID) (bool, error) // restarts BFD with a peer, if it has BFD
	Changed func()                                             // called when a session has come up or gone down
	Tell    func(cluster.Event)                                // called with each event about the node
	Present func(netip.Addr) bool                              // whether an interface that is up has an address
	Hurry   func() bool                                        // optional: whether other nodes rely on what is seen
	See     func(down bool) sight                              // asks the kernel about connections, those that wait too while a session is down
	Ping    func(status.Peer) bool                             // optional: whether a router answers a ping; may take pingWait
	Publish func([]reconcile.SessionState)                     // called with what there is to say of the sessions, when that changes
	Logger  *slog.Logger
}

// sessions are the BGP sessions that FRR has, as of a moment ago.
type sessions struct {
	opts    sessionsOptions
	history *history
	traces  evidence
	summary summary
	mended  map[status.PeerID]mending // whose session was reset for its next hop, and has not been seen with one since
	stuck   frr.Stuck

	mu     sync.Mutex // guards the fields below
	byPeer map[status.PeerID]status.Session
	wanted map[status.PeerID]status.Peer // the configuration of those that are; nil: it is not known yet
}

func newSessions(opts sessionsOptions) *sessions {
	return &sessions{opts: opts, traces: evidence{ping: opts.Ping}, history: newHistory(time.Now()), mended: make(map[status.PeerID]mending)}
}

// run asks FRR again and again until the context is canceled.
func (s *sessions) run(ctx context.Context) error {
	defer s.opts.Reader.Close()
	ask := time.NewTicker(askHurry)
	defer ask.Stop()
	for asked := (time.Time{}); ; {
		if time.Since(asked) >= askInterval-askHurry/2 || s.opts.Hurry != nil && s.opts.Hurry() {
			asked = time.Now()
			s.ask(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ask.C:
		}
	}
}

// ask asks once. If FRR does not answer, no session is known: the Applier says
// why.
func (s *sessions) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	now := time.Now()
	all, err := s.opts.Reader.Sessions(ctx)
	if ctx.Err() != nil && err != nil {
		return // the program ends, or FRR is busy
	}
	s.mu.Lock()
	before, wanted := s.byPeer, s.wanted
	s.mu.Unlock()
	down := slices.ContainsFunc(all, func(f frr.Session) bool {
		_, ok := wanted[f.Peer]
		return ok && !f.Up
	})
	why := s.traces.next(now, all, wanted, s.opts.See(down))
	byPeer := make(map[status.PeerID]status.Session, len(all))
	names := make(map[status.PeerID]string, len(wanted))
	for _, f := range all {
		session := sessionOf(f, now)
		session.Fault, session.Diagnosis = why[f.Peer].Reason, why[f.Peer].Text
		byPeer[f.Peer] = session
	}
	for id, p := range wanted {
		names[id] = p.Name
	}
	s.mu.Lock()
	s.byPeer = byPeer
	s.mu.Unlock()
	s.logChanges(before, byPeer)
	s.mend(ctx, all, now)
	s.reopen(ctx, all, now)
	l := look{now, err == nil, byPeer}
	for _, e := range s.history.next(l, names) {
		s.opts.Tell(e)
	}
	if wanted == nil {
		return
	}
	if all, news := s.summary.next(l, wanted); news {
		s.opts.Publish(all)
	}
}

// A mending is what was done for a session without a next hop.
type mending struct {
	next time.Time     // not again before that
	wait time.Duration // then
}

// mend resets each session in which IPv6 routes have no next hop any more: none
// of them leads anywhere. It waits until this end's address is there again, as
// without it no session is opened either. The interface may be down again before
// the new session was seen; that it did not help is more probable each time.
func (s *sessions) mend(ctx context.Context, all []frr.Session, now time.Time) {
	for _, f := range all {
		m := s.mended[f.Peer]
		switch {
		case !f.Up:
		case !f.NextHopLost:
			delete(s.mended, f.Peer)
		case !now.Before(m.next) && s.opts.Present(f.Local):
			m.wait = min(max(2*m.wait, mendWait), mendWaitMax)
			m.next = now.Add(m.wait)
			s.mended[f.Peer] = m
			s.opts.Logger.Warn("session reset", "peer", f.Peer.String(), "reason", "FRR has lost the next hop of its IPv6 routes")
			if err := s.opts.Reader.Reset(ctx, f.Peer); err != nil {
				s.opts.Logger.Warn("session not reset", "peer", f.Peer.String(), "err", err)
			}
		}
	}
}

// reopen restarts BFD where neither BGP nor BFD comes up.
func (s *sessions) reopen(ctx context.Context, all []frr.Session, now time.Time) {
	for _, peer := range s.stuck.Next(all, now) {
		done, err := s.opts.Reopen(ctx, peer)
		switch {
		case err != nil:
			s.opts.Logger.Warn("BFD not restarted", "peer", peer.String(), "err", err)
		case done:
			s.opts.Logger.Info("BFD restarted", "peer", peer.String(), "reason", "the session is down, and so is BFD")
		}
	}
}

// want takes note of the peers that the newest decisions are about.
func (s *sessions) want(peers []status.Peer) {
	wanted := make(map[status.PeerID]status.Peer, len(peers))
	for _, p := range peers {
		if p.Wanted {
			wanted[p.ID()] = p
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = wanted
}

func sessionOf(f frr.Session, now time.Time) status.Session {
	out := status.Session{
		State:        status.SessionState(f.State),
		PrefixesSent: f.PrefixesSent,
		Dropped:      f.Dropped,
		LastError:    f.LastError,
	}
	if f.Up {
		out.Since = now.Add(-f.Uptime).Truncate(time.Second)
	}
	if f.BFD != nil {
		out.BFD, out.BFDDiagnostic, out.BFDPeer = f.BFD.Status, f.BFD.Diagnostic, f.BFD.Peer
	}
	return out
}

func (s *sessions) logChanges(before, after map[status.PeerID]status.Session) {
	news := false
	for peer, session := range after {
		news = news || session.Up() != before[peer].Up()
		switch was := before[peer]; {
		case session.Up() && !was.Up():
			s.opts.Logger.Info("session up", "peer", peer.String())
		case !session.Up() && was.Up():
			s.opts.Logger.Warn("session down", "peer", peer.String(), "reason", cmp.Or(session.LastError, string(session.State)))
		}
	}
	for peer, was := range before {
		if _, ok := after[peer]; !ok && was.Up() {
			s.opts.Logger.Info("session gone", "peer", peer.String())
			news = true
		}
	}
	if news {
		s.opts.Changed()
	}
}

// in returns peers with the sessions that FRR has with them. What was wrong with a
// session that is up is left out: that may be long ago.
func (s *sessions) in(peers []status.Peer) []status.Peer {
	peers = slices.Clone(peers)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range peers {
		if p.Wanted {
			session := s.byPeer[p.ID()]
			if session.Up() {
				session.LastError = ""
			}
			peers[i].Session = session
		}
	}
	return peers
}
