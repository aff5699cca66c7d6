// SPDX-License-Identifier: Apache-2.0

package condition

import (
	"fmt"
	"maps"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

const (
	// eventsAtOnce is how many events about ConditionAnnounced of one Service may
	// follow each other, and announcedEvery how often there may be another one after
	// those. What is held back is summed up when its time has come.
	eventsAtOnce = 10
	eventEvery   = time.Minute
)

// An eventLimit bounds the events of Services whose condition flaps. It remembers nothing
// about a Service that has been quiet for long.
type eventLimit struct {
	spent map[cluster.Key]allowance
	owed  map[cluster.Key]cluster.Condition // by Service, the condition in the newest event, where that is outdated
	swept time.Time
}

// An allowance is how many events there may be now.
type allowance struct {
	left   int
	earned time.Time // when left was counted
}

// earn returns an allowance as of now.
func (a allowance) earn(now time.Time) allowance {
	n := int(now.Sub(a.earned) / eventEvery)
	a.left, a.earned = min(a.left+n, eventsAtOnce), a.earned.Add(time.Duration(n)*eventEvery)
	return a
}

// spend reports whether there may be an event about a Service now, and counts it.
func (l *eventLimit) spend(svc cluster.Key, now time.Time) bool {
	a, known := l.spent[svc]
	if a = a.earn(now); !known {
		a = allowance{eventsAtOnce, now}
	}
	if a.left == 0 {
		return false
	}
	if a.left--; l.spent == nil {
		l.spent = map[cluster.Key]allowance{}
	}
	l.spent[svc] = a
	return true
}

// take returns the event about a change of a condition; nil if there is none, or not
// now.
func (l *eventLimit) take(svc cluster.Key, have, want *cluster.Condition, now time.Time) *cluster.Event {
	before, owed := l.owed[svc]
	if owed {
		have = &before
	}
	e := eventOf(have, want)
	if e == nil || l.spend(svc, now) {
		delete(l.owed, svc)
		return e
	}
	if l.owed == nil {
		l.owed = map[cluster.Key]cluster.Condition{}
	}
	l.owed[svc] = cluster.Condition{}
	if have != nil {
		l.owed[svc] = *have
	}
	return nil
}

// late returns the event that was held back about a Service whose condition is now as it
// should be, or nil and the time when there may be one; zero: never.
func (l *eventLimit) late(svc cluster.Key, have *cluster.Condition, now time.Time) (*cluster.Event, time.Time) {
	before, owed := l.owed[svc]
	if !owed {
		return nil, time.Time{}
	}
	e := eventOf(&before, have)
	if e == nil || l.spend(svc, now) {
		delete(l.owed, svc)
		return e, time.Time{}
	}
	return nil, l.spent[svc].earned.Add(eventEvery)
}

// sweep forgets the Services that have their full allowance again, and with them those
// that are deleted.
func (l *eventLimit) sweep(now time.Time) {
	if now.Sub(l.swept) < eventEvery {
		return
	}
	l.swept = now
	maps.DeleteFunc(l.spent, func(svc cluster.Key, a allowance) bool {
		if a.earn(now).left < eventsAtOnce {
			return false
		}
		delete(l.owed, svc)
		return true
	})
}

// eventOf returns the event about a change of the condition, with the reason of the
// condition. It is nil for a Service without an address: another event reports that.
func eventOf(before, now *cluster.Condition) *cluster.Event {
	was := before != nil && before.True
	switch {
	case now == nil, before != nil && *before == *now:
		return nil
	case now.True && was:
		return &cluster.Event{Reason: string(status.Announced), Message: fmt.Sprintf("announced: %s; before: %s", now.Message, before.Message)}
	case now.True:
		return &cluster.Event{Reason: string(status.Announced), Message: "announced: " + now.Message}
	case was:
		return &cluster.Event{Warning: true, Reason: string(now.Reason), Message: fmt.Sprintf("no longer announced: %s; before: %s", now.Message, before.Message)}
	case now.Reason == status.NoAddress:
		return nil
	}
	return &cluster.Event{Warning: true, Reason: string(now.Reason), Message: "not announced: " + now.Message}
}
