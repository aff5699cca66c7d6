// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"math"
	"slices"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
	"github.com/heraldlb/herald/wake"
)

const (
	// A route, or an address on layer 2, that is withdrawn since the endpoints of its
	// Service are gone has one more flap. Half of the flaps are forgotten in flapHalfLife. At flapLimit of them the
	// route is damped: when the endpoints are back, the node waits until no more than
	// flapReuse are left. Two limits let a damped route calm down, as RFC 2439, Section
	// 4.2 has it. A rollout of a Deployment takes an endpoint from a node once or twice.
	flapLimit    = 6.0
	flapReuse    = 3.0
	flapHalfLife = 15 * time.Second

	// flapForgotten is how much is left of flaps that do not count any more.
	flapForgotten = 0.1
)

// Flaps are the routes over BGP, and the addresses on layer 2, that a node has withdrawn
// since the endpoints of their Services were gone. On layer 2 those on the node count
// alone: then another node takes over, and open connections end with each move. Only what
// the node did counts. A withdrawal is never delayed, as the route would lead nowhere;
// what is damped is the next announcement. The nil map is
// that of a node that has withdrawn nothing. It is a value: Next returns another one.
type Flaps map[announce.Announcement]Flap

// A Flap is how often a route was withdrawn lately.
type Flap struct {
	count  float64 // at the time
	at     time.Time
	damped bool
}

// count returns how much of it is left.
func (f Flap) left(now time.Time) float64 {
	return f.count * math.Exp2(-now.Sub(f.at).Seconds()/flapHalfLife.Seconds())
}

// reuse returns when a damped route may be announced again.
func (f Flap) reuse() time.Time {
	wait := math.Log2(f.count/flapReuse) * flapHalfLife.Seconds()
	// The next nanosecond makes up for rounding.
	return f.at.Add(time.Duration(wait*float64(time.Second)) + time.Nanosecond)
}

// Damped reports what is not to be announced now.
func (f Flaps) Damped(now time.Time) map[announce.Announcement]bool {
	var out map[announce.Announcement]bool
	for id, flap := range f {
		if flap.damped && now.Before(flap.reuse()) {
			if out == nil {
				out = map[announce.Announcement]bool{}
			}
			out[id] = true
		}
	}
	return out
}

// Next takes in what the node has decided, after what it had decided before. It returns
// the Flaps then, the decisions that are damped from now on, and when to decide again as
// the first of the damped routes that have endpoints may be announced; zero: no need.
func (f Flaps) Next(before, decisions announce.Decisions, now time.Time) (next Flaps, news []status.Decision, again time.Time) {
	for id, flap := range f {
		if flap.damped && !now.Before(flap.reuse()) {
			flap.damped = false
		}
		if flap.damped || flap.left(now) > flapForgotten {
			next = next.with(id, flap)
		}
		if flap.damped && waits(decisions, id) {
			again = wake.Earlier(again, flap.reuse())
		}
	}
	for c := range table.Diff(before, decisions, announce.SameList) {
		if c.Before == nil || c.After == nil {
			continue
		}
		for _, d := range *c.After {
			if d.Reason != status.NoLocalEndpoints && d.Reason != status.TooFewEndpoints && (d.Reason != status.NoEndpoints || d.Protocol == status.Layer2) {
				continue
			}
			i, ok := slices.BinarySearchFunc(*c.Before, d, announce.CompareDecisions)
			if !ok || !(*c.Before)[i].Announce {
				continue
			}
			id := announce.Announcement{Service: d.Service, Addr: d.Addr, Protocol: d.Protocol}
			flap := Flap{count: next[id].left(now) + 1, at: now}
			if flap.damped = flap.count >= flapLimit; flap.damped {
				news = append(news, d)
			}
			next = next.with(id, flap)
		}
	}
	return next, news, again
}

// waits reports whether something is not announced as it is damped.
func waits(decisions announce.Decisions, id announce.Announcement) bool {
	of, _ := decisions.Get(cluster.ParseKey(id.Service))
	return slices.ContainsFunc(of, func(d status.Decision) bool {
		return d.Addr == id.Addr && d.Protocol == id.Protocol && d.Reason == status.EndpointsFlap
	})
}

// with returns f with a flap, in a map that f may share.
func (f Flaps) with(id announce.Announcement, flap Flap) Flaps {
	if f == nil {
		f = Flaps{}
	}
	f[id] = flap
	return f
}

// Wait returns how long what a decision is about is damped from a time on.
func (f Flaps) Wait(d status.Decision, now time.Time) time.Duration {
	return max(0, f[announce.Announcement{Service: d.Service, Addr: d.Addr, Protocol: d.Protocol}].reuse().Sub(now))
}
