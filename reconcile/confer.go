// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/status"
)

// confer asks other nodes what they have sent, if that matters now. It answers those that
// ask with what was seen after they asked. It logs what was withdrawn though no other node
// was seen to announce it.
func (a *Agent) confer(around Neighborhood, desired announce.Desired, out handover.OutcomeTables, now time.Time) {
	for _, addr := range out.GivenUp {
		a.opts.Logger.Warn("withdrawn, though no other was seen to announce the address", "addr", addr)
	}
	if a.opts.Layer2 == nil {
		return
	}
	a.opts.Layer2.Ask(out.Ask || around.Leaving)
	if around.Leaving {
		a.opts.Layer2.Alone(desired.Alone)
	}
	switch {
	case !around.Asked:
		a.asked = time.Time{}
	case a.asked.IsZero():
		a.asked = now // a session may have gone down a moment ago
		a.opts.Routers.Look()
	}
	if around.Asked && !a.opts.Routers.Looked().Before(a.asked) {
		a.opts.Layer2.Tell(sentOf(announce.ListDecisions(out.Decisions), desired.Peers, a.opts.Routers.SentTo))
	}
}

// sentOf returns which routes of these decisions were sent to which peers; sentTo returns
// the peers' IDs.
func sentOf(decisions []status.Decision, peers []status.Peer, sentTo func(netip.Prefix) []status.PeerID) []announce.Sent {
	r := status.Report{Decisions: decisions, Peers: peers}
	r.Confirm(sentTo)
	groups := map[string]*sentGroup{}
	var order []string
	for _, d := range r.Decisions {
		if d.Protocol != status.BGP || !d.Announce || !d.Confirmed || len(d.Sent) == 0 {
			continue
		}
		key := strings.Join(d.Sent, "\x00")
		g := groups[key]
		if g == nil {
			g = &sentGroup{peers: d.Sent}
			groups[key] = g
			order = append(order, key)
		}
		g.addrs = append(g.addrs, d.Addr)
	}
	slices.Sort(order)
	var out []announce.Sent
	for _, key := range order {
		out = append(out, announce.Sent{Peers: groups[key].peers, Runs: runsOf(groups[key].addrs)})
	}
	return out
}

// A sentGroup is the addresses whose routes were sent to the same peers.
type sentGroup struct {
	peers []string
	addrs []netip.Addr
}

// runsOf sorts addresses, and returns their runs.
func runsOf(addrs []netip.Addr) (runs [][2]netip.Addr) {
	slices.SortFunc(addrs, netip.Addr.Compare)
	for _, a := range slices.Compact(addrs) {
		if n := len(runs); n > 0 && runs[n-1][1].Next() == a && sameSubnet(runs[n-1][1], a) {
			runs[n-1][1] = a
		} else {
			runs = append(runs, [2]netip.Addr{a, a})
		}
	}
	return runs
}

// sameSubnet reports whether two addresses of IPv6 are in one /64, or of IPv4.
func sameSubnet(a, b netip.Addr) bool {
	if a.Is4() || b.Is4() {
		return a.Is4() && b.Is4()
	}
	x, y := a.As16(), b.As16()
	return [8]byte(x[:8]) == [8]byte(y[:8])
}
