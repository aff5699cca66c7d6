// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

// A withdrawal says what of a node's routes is withdrawn because it drains.
type withdrawal struct {
	force bool
	waits bool // for routers to follow; nothing is withdrawn yet
}

// LastAnnouncer is what a decision says of an address that is still announced though
// the node drains, and why.
func LastAnnouncer(why string) string { return "the node drains, but " + why }

// drain enters what the node's drain means for its routes: at first they all ask
// for another path, then they go.
func (a *announcer) drain(n cluster.Node) {
	if n.Drain.IsZero() {
		return
	}
	a.policies.shutdown = true
	a.drained = &withdrawal{force: n.Drain.Force, waits: !a.opts.Drained}
}

// drainRefusal completes the decision about an address that the node could
// announce; it reports whether it withdraws it. It does not unless another node was
// seen to announce it, or it has to. What it does not announce, because it has
// withdrawn it before or has never announced it, it leaves to those that are able to
// for a moment: they may be about to.
func (a *announcer) drainRefusal(d *status.Decision, svc *cluster.Service, pool *PoolAds, endpoints []cluster.Endpoint) bool {
	switch {
	case a.drained == nil:
		return false
	case a.drained.force:
		if a.drained.waits {
			return false
		}
		d.Reason = status.NodeDraining
		return true
	}
	s := a.succession().of(svc, pool, d.Addr, endpoints, "")
	switch {
	case s.Confirmed && a.drained.waits:
		return false
	case s.Confirmed:
		d.Reason = status.NodeDraining
		return true
	case s.Able && !a.opts.announces(d.Addr) && !a.opts.overdue(d.Addr):
		a.unseen = append(a.unseen, d.Addr)
		d.Reason, d.Detail = status.NodeDraining, s.Detail
		return true
	}
	d.Detail, d.Last = LastAnnouncer(s.Detail), true
	a.last = append(a.last, d.Addr)
	return false
}

// succession is made once it is needed.
func (a *announcer) succession() *succession {
	if a.others == nil {
		a.others = newSuccession(a.snapshot, a.policies.node, a.opts)
	}
	return a.others
}

// announces reports whether the node announces an address, as far as is known.
func (o Options) announces(addr netip.Addr) bool {
	return o.Announces == nil || o.Announces(addr)
}

// overdue reports whether others should have announced an address by now.
func (o Options) overdue(addr netip.Addr) bool { return o.Overdue != nil && o.Overdue(addr) }
