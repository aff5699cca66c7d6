// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/heraldlb/herald/frr/contract"
	"github.com/heraldlb/herald/l2/members"
)

// How long an agent that stops goes on until others have taken over what it answers
// for: those that are alive may be slow, but if there are none nobody will.
const (
	leaveTime  = 5 * time.Second
	leaveAlone = time.Second
)

// How long an agent that stops keeps FRR, which may be about to stop as well, from
// closing sessions with routes that no other node was seen to announce, and how often
// it says so.
const (
	lastTime  = 15 * time.Second
	lastEvery = 500 * time.Millisecond
)

// leave has the others take over what this node announces. It returns when they have,
// or their time is over. FRR is told by files in dir; it is empty if there is no FRR.
func (l *layer2) leave(ctx context.Context, dir string) {
	if l.members == nil {
		return
	}
	idle, alone := make(chan struct{}), make(chan int, 1)
	l.mu.Lock()
	l.leaving, l.idle, l.alone = true, idle, alone
	l.mu.Unlock()
	l.publish()
	l.wake()
	var both sync.WaitGroup
	both.Go(func() { l.leaveAnswers(ctx, idle) })
	if dir != "" {
		both.Go(func() { l.leaveRoutes(ctx, alone, dir) })
	}
	both.Wait()
}

// leaveAnswers waits until there is nothing to answer for.
func (l *layer2) leaveAnswers(ctx context.Context, idle <-chan struct{}) {
	limit := leaveTime
	if !slices.ContainsFunc(l.members.View().Members, func(m members.Member) bool { return m.Name != l.node && !m.Leaving }) {
		limit = leaveAlone
	}
	select {
	case <-ctx.Done():
	case <-idle:
	case <-time.After(limit):
		l.log.Warn("stopped before others answered for all that this node did", "node", l.node)
	}
}

// leaveRoutes waits until others were seen to announce what they are able to.
func (l *layer2) leaveRoutes(ctx context.Context, alone <-chan int, dir string) {
	defer func() {
		if err := contract.EndLast(dir); err != nil {
			l.log.Warn("FRR is not told that others announce the routes", "err", err)
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
		case routes = <-alone:
			if routes == 0 {
				return
			}
		case <-tick.C:
		case <-limit:
			l.log.Warn("stopped before others announced all routes that they are able to", "routes", routes)
			return
		}
		if routes == 0 {
			continue
		}
		if err := contract.BeatLast(dir); err != nil {
			l.log.Warn("FRR is not told that no other node announces some of the routes", "err", err)
			return
		}
	}
}

// Alone takes how many addresses others are able to announce and were not seen to.
func (l *layer2) Alone(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.alone == nil {
		return
	}
	select {
	case <-l.alone:
	default:
	}
	l.alone <- n
}
