// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/heraldlb/herald/l2/members"
	"github.com/heraldlb/herald/wake"
)

// How long an agent that stops waits until others have taken over what it answers
// for. Others that are alive may be slow, but without others there is nothing to wait for.
const (
	leaveTime  = 5 * time.Second
	leaveAlone = time.Second
)

// How long an agent that stops keeps FRR, which may be about to stop as well, from
// closing sessions with routes that no other node was seen to announce, and how
// often it says so.
const (
	lastTime  = 15 * time.Second
	lastEvery = 500 * time.Millisecond
)

// A Holder keeps FRR from closing its sessions.
type Holder interface {
	// Hold keeps them open for a few seconds more: no other node announces some of
	// the routes.
	Hold() error
	// Release lets FRR close them.
	Release() error
}

// A departure is the end of an agent, while others take over what it announces.
type departure struct {
	idle  wake.Signal // nothing is left to answer for
	alone chan int    // has room for one value: how many routes others are able to announce, and do not
}

func newDeparture() *departure { return &departure{idle: wake.New(), alone: make(chan int, 1)} }

// Leave has other nodes take over what this one announces. It returns when they
// have, or their time is over. The Holder is nil if there is no FRR.
func (l *Layer2) Leave(ctx context.Context, frr Holder) {
	if l.members == nil {
		return
	}
	d := newDeparture()
	l.mu.Lock()
	l.departure = d
	l.mu.Unlock()
	l.publish()
	l.opts.Changed()
	limit := leaveTime
	if !slices.ContainsFunc(l.members.View().Members, func(m members.Member) bool { return m.Name != l.opts.Node && !m.Leaving }) {
		limit = leaveAlone
	}
	var both sync.WaitGroup
	both.Go(func() { d.awaitAnswers(ctx, limit, l.opts.Logger) })
	if frr != nil {
		both.Go(func() { d.awaitRoutes(ctx, frr, l.opts.Logger) })
	}
	both.Wait()
}

// leaving returns the departure; nil before Leave.
func (l *Layer2) leaving() *departure {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.departure
}

// Alone takes how many routes others are able to announce, and were not seen to.
func (l *Layer2) Alone(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.departure == nil {
		return
	}
	select {
	case <-l.departure.alone: // the last count was not read yet
	default:
	}
	l.departure.alone <- n
}

// awaitAnswers waits until there is nothing to answer for.
func (d *departure) awaitAnswers(ctx context.Context, limit time.Duration, log *slog.Logger) {
	select {
	case <-ctx.Done():
	case <-d.idle:
	case <-time.After(limit):
		log.Warn("stopped before other nodes answered for all addresses")
	}
}

// awaitRoutes waits until others were seen to announce the routes that they are able
// to announce, and holds FRR's sessions so long.
func (d *departure) awaitRoutes(ctx context.Context, frr Holder, log *slog.Logger) {
	defer func() {
		if err := frr.Release(); err != nil {
			log.Warn("sessions of FRR not released", "err", err)
		}
	}()
	tick := time.NewTicker(lastEvery)
	defer tick.Stop()
	limit := time.After(lastTime)
	first := time.After(leaveAlone)
	routes := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-first:
			if first = nil; routes == 0 {
				return // nothing was decided
			}
			continue
		case routes = <-d.alone:
			if routes == 0 {
				return
			}
		case <-tick.C:
		case <-limit:
			log.Warn("stopped before other nodes announced all routes", "routes", routes)
			return
		}
		if routes == 0 {
			continue
		}
		if err := frr.Hold(); err != nil {
			log.Warn("sessions of FRR not held", "err", err)
			return
		}
	}
}
