// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

// A withdrawal is how a node that drains withdraws its routes.
type withdrawal struct {
	force bool
	waits bool // for routers to follow; nothing is withdrawn yet
}

// LastAnnouncer is the detail of a decision to keep announcing an address though the
// node drains.
func LastAnnouncer(why string) string { return "the node drains, but " + why }

// drain applies the node's drain to its routes: at first all of them carry graceful
// shutdown (RFC 8326), later they are withdrawn.
func (a *announcer) drain(n cluster.Node) {
	if n.Drain.IsZero() {
		return
	}
	a.policies.shutdown = true
	a.drained = &withdrawal{force: n.Drain.Force, waits: !a.opts.Drained}
}

// drainRefusal completes the decision about an address that the node could announce,
// and reports whether the node withdraws it. It does so once another node was seen to
// announce it, or if the drain is forced. An address that this node does not announce
// now is left for a moment to the nodes that could: they may be about to.
func (a *announcer) drainRefusal(d *status.Decision, svc *cluster.Service, pool *Pool, endpoints []cluster.Endpoint) bool {
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

// succession returns the succession of this pass, which the first call makes.
func (a *announcer) succession() *succession {
	if a.others == nil {
		a.others = newSuccession(a.config, a.nodes, a.policies.node, a.opts)
	}
	a.consulted = true
	return a.others
}

// announces reports whether the node announces an address, as far as is known.
func (o Options) announces(addr netip.Addr) bool {
	return o.Announces == nil || o.Announces(addr)
}

// overdue reports whether others should have announced an address by now.
func (o Options) overdue(addr netip.Addr) bool { return o.Overdue != nil && o.Overdue(addr) }
