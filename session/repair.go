// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"time"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/status"
)

// resetWait is the time after a session was reset for its next hop until it may be
// reset again, if it has had none in between. It doubles each time, up to
// resetWaitMax.
const (
	resetWait    = 10 * time.Second
	resetWaitMax = 10 * time.Minute
)

// repairs mend sessions that bgpd leaves broken.
type repairs struct {
	opts   Options
	resets map[status.PeerID]backoff // of sessions that were reset for their next hop, and were not seen with one since
	silent frr.Unanswered
	stuck  frr.Stuck
}

// A backoff says when a session may be reset again.
type backoff struct {
	next time.Time     // not before that
	wait time.Duration // until then
}

func newRepairs(opts Options) repairs {
	return repairs{opts: opts, resets: make(map[status.PeerID]backoff)}
}

// next repairs what is broken now.
func (r *repairs) next(ctx context.Context, all []frr.Session, now time.Time) {
	r.reset(ctx, all, now)
	r.answer(ctx, all, now)
	r.reopen(ctx, all, now)
}

// reset resets each session in which IPv6 routes have lost their next hop: none of
// them leads anywhere. It waits until this end's address is there again, as no
// session is opened without it. The interface may be down again before the new
// session was seen; that a reset did not help is more likely each time.
func (r *repairs) reset(ctx context.Context, all []frr.Session, now time.Time) {
	for _, f := range all {
		b := r.resets[f.Peer]
		switch {
		case !f.Up:
		case !f.NextHopLost:
			delete(r.resets, f.Peer)
		case !now.Before(b.next) && r.opts.Present(f.Local):
			b.wait = min(max(2*b.wait, resetWait), resetWaitMax)
			b.next = now.Add(b.wait)
			r.resets[f.Peer] = b
			r.renew(ctx, f.Peer, "FRR has lost the next hop of its IPv6 routes")
		}
	}
}

// answer resets each session whose peer does not answer the OPEN, so that bgpd opens
// another connection.
func (r *repairs) answer(ctx context.Context, all []frr.Session, now time.Time) {
	for _, peer := range r.silent.Next(all, now) {
		r.renew(ctx, peer, "the router does not answer the OPEN")
	}
}

// renew resets a session.
func (r *repairs) renew(ctx context.Context, peer status.PeerID, reason string) {
	r.opts.Logger.Warn("session reset", "peer", peer.String(), "reason", reason)
	if err := r.opts.Source.Reset(ctx, peer); err != nil {
		r.opts.Logger.Warn("session not reset", "peer", peer.String(), "err", err)
	}
}

// reopen restarts BFD where neither BGP nor BFD comes up.
func (r *repairs) reopen(ctx context.Context, all []frr.Session, now time.Time) {
	for _, peer := range r.stuck.Next(all, now) {
		done, err := r.opts.Reopen(ctx, peer)
		switch {
		case err != nil:
			r.opts.Logger.Warn("BFD not restarted", "peer", peer.String(), "err", err)
		case done:
			r.opts.Logger.Info("BFD restarted", "peer", peer.String(), "reason", "the session is down, and so is BFD")
		}
	}
}
