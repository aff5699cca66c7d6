// SPDX-License-Identifier: Apache-2.0

// Package session watches the BGP sessions of this node. It reports what becomes
// of them, says why one is not up, and repairs those that bgpd leaves broken.
package session

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/status"
)

const (
	// interval is the time between two looks at the sessions.
	interval = 2 * time.Second
	// hurry is likewise, while other nodes rely on what is seen.
	hurry = 500 * time.Millisecond
	// timeout is how long FRR may take to answer.
	timeout = 5 * time.Second
)

// A Source has the sessions of bgpd.
type Source interface {
	Sessions(ctx context.Context) ([]frr.Session, error)
	// Reset closes the session with a peer. Bgpd opens it again.
	Reset(ctx context.Context, peer status.PeerID) error
	Close() error
}

// Options configure a Monitor.
type Options struct {
	Source  Source                                             // required: the Monitor's own, which it closes
	Reopen  func(context.Context, status.PeerID) (bool, error) // required: restarts BFD with a peer, and reports whether it has BFD
	Present func(netip.Addr) bool                              // required: whether an interface that is up has an address
	Changed func()                                             // required: called when a session has come up or gone down
	Event   func(cluster.Event)                                // required: called with each event about the node
	Publish func([]cluster.SessionState)                       // required: called when the states to publish have changed
	Hurry   func() bool                                        // optional: whether other nodes rely on what is seen
	Journal *status.Journal                                    // optional: receives what becomes of sessions
	Took    func(peer string, d time.Duration)                 // optional: called with how long a session was down that is up again
	Logger  *slog.Logger                                       // required

	see  func(down bool) sight  // tests: instead of the kernel
	ping func(status.Peer) bool // tests: likewise
}

// A Monitor has the BGP sessions that FRR has, as of a moment ago. Want and In are
// safe for concurrent use.
type Monitor struct {
	opts    Options
	history *history
	traces  evidence
	summary summary
	repairs repairs
	down    map[status.PeerID]time.Time // since when sessions are down that FRR has had; of Run

	mu     sync.Mutex // guards the fields below
	byPeer map[status.PeerID]status.Session
	wanted map[status.PeerID]status.Peer // in the configuration; nil: it is not known yet
}

// New returns a Monitor. It starts nothing.
func New(opts Options) *Monitor {
	if opts.see == nil {
		opts.see, opts.ping = see, ping
	}
	if opts.Hurry == nil {
		opts.Hurry = func() bool { return false }
	}
	m := &Monitor{opts: opts, history: newHistory(time.Now()), down: map[status.PeerID]time.Time{}, traces: evidence{ping: opts.ping}, repairs: newRepairs(opts)}
	if opts.Took != nil {
		m.history.took = opts.Took
	}
	return m
}

// Run looks at the sessions until the context is canceled.
func (m *Monitor) Run(ctx context.Context) error {
	defer m.opts.Source.Close()
	tick := time.NewTicker(hurry)
	defer tick.Stop()
	for looked := (time.Time{}); ; {
		if time.Since(looked) >= interval-hurry/2 || m.opts.Hurry() {
			looked = time.Now()
			m.look(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look looks once. If FRR does not answer, no session is known: the Applier says
// why.
func (m *Monitor) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	now := time.Now()
	all, err := m.opts.Source.Sessions(ctx)
	if ctx.Err() != nil && err != nil {
		return // the program ends, or FRR is busy
	}
	m.mu.Lock()
	before, wanted := m.byPeer, m.wanted
	m.mu.Unlock()
	down := slices.ContainsFunc(all, func(f frr.Session) bool {
		_, ok := wanted[f.Peer]
		return ok && !f.Up
	})
	why := m.traces.next(now, all, wanted, m.opts.see(down))
	byPeer := make(map[status.PeerID]status.Session, len(all))
	for _, f := range all {
		session := sessionOf(f, now)
		session.Fault, session.Diagnosis = why[f.Peer].Reason, why[f.Peer].Text
		byPeer[f.Peer] = m.since(steady(before[f.Peer], session), f.Peer, now)
	}
	m.forget(before, byPeer, wanted, now)
	m.mu.Lock()
	m.byPeer = byPeer
	m.mu.Unlock()
	if m.logChanges(before, byPeer) {
		m.opts.Changed()
	}
	m.repairs.next(ctx, all, now)
	l := look{now, err == nil, byPeer}
	events, changes := m.history.next(l, wanted)
	m.opts.Journal.Add(changes...)
	for _, e := range events {
		m.opts.Event(e)
	}
	if wanted == nil {
		return
	}
	if all, news := m.summary.next(l, wanted); news {
		m.opts.Publish(all)
	}
}

// Want replaces the peers that the newest decisions are about.
func (m *Monitor) Want(peers []status.Peer) {
	wanted := make(map[status.PeerID]status.Peer, len(peers))
	for _, p := range peers {
		if p.Wanted {
			wanted[p.ID()] = p
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wanted = wanted
}

// In returns peers with the sessions that FRR has with them. A session that is up
// comes without its last error, which may be long ago.
func (m *Monitor) In(peers []status.Peer) []status.Peer {
	peers = slices.Clone(peers)
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, p := range peers {
		if p.Wanted {
			session := m.byPeer[p.ID()]
			if session.Up() {
				session.LastError = ""
			}
			peers[i].Session = session
		}
	}
	return peers
}

func sessionOf(f frr.Session, now time.Time) status.Session {
	out := status.Session{
		State:        status.SessionState(f.State),
		PrefixesSent: f.PrefixesSent,
		Dropped:      f.Dropped,
		LastError:    f.LastError,
	}
	if f.Up {
		// Truncate would drop the reading of the monotonic clock: if the clock was set, the
		// session would seem to have restarted.
		began := now.Add(-f.Uptime)
		out.Since = began.Add(-time.Duration(began.Nanosecond()))
	}
	if f.Details != nil {
		details := *f.Details
		if r := f.LastReset; r != nil {
			details.LastReset = &status.SessionReset{At: now.Add(-r.Age).Truncate(time.Second), Error: r.Error}
		}
		out.Details = &details
	}
	if f.BFD != nil {
		out.BFD, out.BFDDiagnostic, out.BFDPeer = f.BFD.Status, f.BFD.Diagnostic, f.BFD.Peer
	}
	return out
}

// steady returns a session as it is now. If it has not restarted since the last look, it
// has the same start, unless the clock was set.
func steady(was, now status.Session) status.Session {
	same := was.Up() && now.Up() && now.Dropped == was.Dropped && now.Since.Sub(was.Since).Abs() <= clockStep
	set := now.Since.Round(0).Sub(was.Since.Round(0)).Abs() > clockStep
	if same && !set {
		now.Since = was.Since
	}
	if a, b := resetOf(was), resetOf(now); a != nil && b != nil && a.Error == b.Error && b.At.Sub(a.At).Abs() <= clockStep {
		*b = *a
	}
	return now
}

// resetOf returns when a session went down last; nil: never.
func resetOf(s status.Session) *status.SessionReset {
	if s.Details == nil {
		return nil
	}
	return s.Details.LastReset
}

// since fills in since when a session is down. It is down also while FRR restarts and does not
// have it.
func (m *Monitor) since(s status.Session, peer status.PeerID, now time.Time) status.Session {
	if s.Up() {
		delete(m.down, peer)
		return s
	}
	if m.down[peer].IsZero() {
		m.down[peer] = now.Round(0)
	}
	s.DownSince = m.down[peer]
	return s
}

// forget drops what is known of sessions that nobody wants and FRR does not have, and takes
// note of those that FRR has lost.
func (m *Monitor) forget(before, byPeer map[status.PeerID]status.Session, wanted map[status.PeerID]status.Peer, now time.Time) {
	for peer, was := range before {
		if _, there := byPeer[peer]; !there && was.Up() {
			m.down[peer] = now.Round(0)
		}
	}
	maps.DeleteFunc(m.down, func(peer status.PeerID, _ time.Time) bool {
		_, there := byPeer[peer]
		_, is := wanted[peer]
		return !there && !is
	})
}

// logChanges logs which sessions have come up or gone down, and reports whether
// any has.
func (m *Monitor) logChanges(before, after map[status.PeerID]status.Session) (changed bool) {
	for peer, session := range after {
		was := before[peer]
		changed = changed || session.Up() != was.Up()
		switch {
		case session.Up() && !was.Up():
			m.opts.Logger.Info("session up", "peer", peer.String())
		case !session.Up() && was.Up():
			m.opts.Logger.Warn("session down", "peer", peer.String(), "reason", cmp.Or(session.LastError, string(session.State)))
		}
	}
	for peer, was := range before {
		if _, ok := after[peer]; !ok && was.Up() {
			m.opts.Logger.Info("session gone", "peer", peer.String())
			changed = true
		}
	}
	return changed
}
