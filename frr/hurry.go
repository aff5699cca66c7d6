// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"context"
	"net/netip"
	"time"

	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/trace"
)

const (
	// queueHold is how long bgpd holds back its queue of changed routes, from the first of
	// them on.
	queueHold = 50 * time.Millisecond
	// hurryAgain is when the queue is started again if no change was sent: it is empty then.
	hurryAgain = queueHold + 5*time.Millisecond
	// hurryFor is how long a change is expected.
	hurryFor = time.Second
)

// Hurry says that another route is expected in a moment. bgpd holds back changes of routes
// for 50 ms, from the first one on. Hurry has it process a route that it has already, once
// more, so that the 50 ms begin now, and again while no change comes, for a second. That
// changes nothing, and bgpd sends nothing for it. Without a route there is nothing to
// process. It does not block.
func (a *Applier) Hurry() {
	for _, w := range a.workers {
		if w.id() == conf.BGPD {
			w.hurry.Set()
		}
	}
}

// hurry has bgpd process one of its routes in each VRF. It reports whether bgpd's connection
// is as it was.
func (d *daemon) hurry(ctx context.Context) bool {
	if d.acquire(ctx) != nil {
		return true
	}
	defer d.token.release()
	start := time.Now()
	if d.conn == nil || d.runs == nil || d.holds(start) {
		return true
	}
	var commands []string
	for _, r := range d.runs.samples() {
		commands = append(commands, r.process())
	}
	if len(commands) == 0 {
		return true
	}
	d.hold(start)
	if _, err := d.conn.Batch(ctx, commands); err != nil {
		d.reset()
		return false
	}
	trace.Line(d.log, trace.Hurried, "took", time.Since(start))
	return true
}

// holds reports whether bgpd holds back routes already, since something was sent to it.
func (d *daemon) holds(now time.Time) bool { return now.Sub(d.held) < queueHold }

// hold takes note that bgpd is sent a change of routes.
func (d *daemon) hold(now time.Time) {
	if !d.holds(now) {
		d.held = now
	}
}

// A sample is a route that a VRF has.
type sample struct {
	vrf    string
	prefix netip.Prefix
}

// process returns the command by which bgpd selects the best path of the route once more.
func (s sample) process() string {
	command := conf.Clear(s.vrf)
	if s.prefix.Addr().Is6() {
		command += " ipv6 unicast"
	}
	return command + " prefix " + s.prefix.String()
}

// samples returns a route of each VRF that has one.
func (w *wanted) samples() (out []sample) {
	left := map[string]bool{}
	for _, f := range w.frame()[conf.BGPD].Families() {
		left[f.VRF] = true
	}
	for prefix, routeMap := range w.Networks.All() {
		for vrf := range left {
			if w.VRFs[vrf][routeMap] {
				delete(left, vrf)
				out = append(out, sample{vrf, prefix})
			}
		}
		if len(left) == 0 {
			break
		}
	}
	return out
}
