// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"maps"
	"slices"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/handover"
	"github.com/heraldlb/herald/wake"
)

// keptPeers are the peers that a node has, or had until a moment ago. A session stays after
// its peer no longer selects the node, until others were seen to send that peer the same
// routes. It stays at most as long as a route that is left to others. The session of a
// deleted peer ends at once. The loop that announces owns it.
type keptPeers map[string]keptPeer

type keptPeer struct {
	left  time.Time // since when it does not select the node; zero: it does
	taken time.Time // since when others send it all routes; zero: they do not
}

// next returns the peers that are kept, those that select the node included. What others
// send them is not known yet.
func (k keptPeers) next(peers []config.Peer, n cluster.Node, now time.Time) keptPeers {
	out := make(keptPeers, len(k))
	for _, p := range peers {
		was, had := k[p.Name]
		switch {
		case p.AppliesToNode(n.Labels):
			out[p.Name] = keptPeer{}
		case had:
			if was.left.IsZero() {
				was.left = now
			}
			out[p.Name] = was
		}
	}
	return out
}

// names returns the peers that do not select the node.
func (k keptPeers) names() (out []string) {
	for name, p := range k {
		if !p.left.IsZero() {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// decideBGP decides what the node announces over BGP, and with which peers it keeps
// sessions. It returns when to decide about these peers again; zero: no need.
func (a *Agent) decideBGP(s cluster.Tables, n cluster.Node, opts announce.Options, now time.Time) (announce.DesiredTables, time.Time) {
	a.kept = a.kept.next(s.Config.Peers, n, now)
	if opts.Members.Disabled {
		maps.DeleteFunc(a.kept, func(_ string, p keptPeer) bool { return !p.left.IsZero() })
	}
	opts.Kept = a.kept.names()
	d := a.routes.Next(s, a.opts.Node, opts)
	if len(opts.Kept) == 0 {
		return d, time.Time{}
	}
	var next time.Time
	for _, name := range opts.Kept {
		p := a.kept[name]
		said, due := d.Frame.Kept[name]
		switch {
		case !said.Confirmed:
			p.taken = time.Time{}
		case p.taken.IsZero():
			p.taken = now
		}
		until := p.left.Add(handover.DefaultTimes.Leave)
		if !p.taken.IsZero() {
			until = wake.Earlier(until, p.taken.Add(handover.DefaultTimes.Follow))
		}
		if due && now.Before(until) {
			a.kept[name], next = p, wake.Earlier(next, until)
			continue
		}
		delete(a.kept, name)
		if due && p.taken.IsZero() {
			a.opts.Logger.Warn("session closed, though no other was seen to send its routes", "peer", name, "err", said.Detail)
		}
	}
	if kept := a.kept.names(); len(kept) != len(opts.Kept) {
		opts.Kept = kept
		d = a.routes.Next(s, a.opts.Node, opts)
	}
	d.Frame.Peers = slices.Clone(d.Frame.Peers)
	for i := range d.Frame.Peers {
		if p := &d.Frame.Peers[i]; p.Wanted && slices.Contains(opts.Kept, p.Name) {
			p.Detail = "the peer does not select the node any more, and the session stays until others have sent its routes"
			if why := d.Frame.Kept[p.Name].Detail; why != "" {
				p.Detail += ": " + why
			}
		}
	}
	return d, next
}
