// SPDX-License-Identifier: Apache-2.0

package handover_test

import (
	"cmp"
	"net/netip"
	"testing"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/status"
)

// A trial plays what a node decides about one Service, which has endpoints or not, and
// counts how often its route changes.
type trial struct {
	protocol  status.Protocol // empty: BGP
	flaps     handover.Flaps
	before    announce.Decisions
	now       time.Time
	announced bool
	changes   int
	news      int
	again     time.Time
}

var flapAddr = netip.MustParseAddr("192.0.2.1")

func (c *trial) step(after time.Duration, endpoints bool, lack status.Reason) {
	c.now = c.now.Add(after)
	web := announce.Announcement{Service: "ns/web", Addr: flapAddr, Protocol: cmp.Or(c.protocol, status.BGP)}
	d := status.Decision{Service: web.Service, Addr: flapAddr, Protocol: web.Protocol, Announce: true, Reason: status.Announced}
	switch {
	case !endpoints:
		d.Announce, d.Reason = false, lack
	case c.flaps.Damped(c.now)[web]:
		d.Announce, d.Reason = false, status.EndpointsFlap
	}
	// Another Service, which has nothing to do with it.
	calm := status.Decision{Service: "ns/calm", Addr: flapAddr, Protocol: status.BGP, Announce: true, Reason: status.Announced}
	now := announce.TableDecisions([]status.Decision{calm, d})
	var news []status.Decision
	c.flaps, news, c.again = c.flaps.Next(c.before, now, c.now)
	c.news += len(news)
	c.before = now
	if d.Announce != c.announced {
		c.changes++
	}
	c.announced = d.Announce
}

// A route that follows endpoints that move seven times a second changes a few times,
// and is never announced without endpoints.
func TestFlapsDamp(t *testing.T) {
	c := trial{now: time.Unix(0, 0)}
	const flips = 200
	for i := range flips {
		c.step(140*time.Millisecond, i%2 == 0, status.NoLocalEndpoints)
		if c.announced && i%2 == 1 {
			t.Fatal("the route is announced without endpoints")
		}
		if i == 9 && c.changes != 10 {
			t.Errorf("the first 10 moves are %d changes, want all of them", c.changes)
		}
	}
	// The seventh withdrawal damps the route, and after 15 s the fourth one.
	if c.changes != 2*(7+4) {
		t.Errorf("%d moves in 28 s are %d changes of the route, want 22", flips, c.changes)
	}
	if c.news != 2 {
		t.Errorf("damping began %d times, want twice", c.news)
	}
	// The endpoints settle: the route comes back, and stays.
	c.step(time.Millisecond, true, "")
	if c.announced || c.again.IsZero() || c.again.Sub(c.now) > 15*time.Second {
		t.Fatalf("announced %t, to be looked at again in %v", c.announced, c.again.Sub(c.now))
	}
	c.step(c.again.Sub(c.now), true, "")
	if !c.announced || !c.again.IsZero() {
		t.Fatalf("announced %t in due time, again at %v", c.announced, c.again)
	}
	// What is long ago is forgotten.
	c.step(10*time.Minute, true, "")
	if len(c.flaps) != 0 {
		t.Errorf("%v is remembered", c.flaps)
	}
}

// A rollout, a Pod that is restarted every ten seconds, and withdrawals for other
// reasons change the route each time.
func TestFlapsLeaveAlone(t *testing.T) {
	tests := []struct {
		name  string
		every time.Duration
		moves int
		lack  status.Reason
		over  status.Protocol // empty: BGP
	}{
		{"a rollout takes the endpoint from the node twice", 500 * time.Millisecond, 4, status.NoLocalEndpoints, ""},
		{"three rollouts after another", 2 * time.Second, 10, status.NoLocalEndpoints, ""},
		{"a Pod is ready every ten seconds", 5 * time.Second, 200, status.NoEndpoints, ""},
		{"a configuration that changes all the time", 100 * time.Millisecond, 200, status.NodeNotSelected, ""},
		{"a node that drains again and again", 100 * time.Millisecond, 200, status.NodeDraining, ""},
		{"endpoints on layer 2 that are gone everywhere", 100 * time.Millisecond, 200, status.NoEndpoints, status.Layer2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := trial{now: time.Unix(0, 0), protocol: tt.over}
			for i := range tt.moves {
				c.step(tt.every, i%2 == 0, tt.lack)
			}
			if c.changes != tt.moves || c.news != 0 {
				t.Errorf("%d moves are %d changes, damped %d times", tt.moves, c.changes, c.news)
			}
		})
	}
}
