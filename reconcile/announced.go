// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/wake"
)

// ConditionAnnounced says whether some node was seen to announce the Service.
const ConditionAnnounced = cluster.OwnPrefix + "Announced"

// ReasonNotAnnounced is the reason of a ConditionAnnounced that is False though
// the Service has an address, an advertisement and, as far as is known, an
// endpoint, and nodes may announce it. Its other reasons are status.Announced,
// status.NoAddress, status.NoAdvertisement, status.NoEndpoints, and those of
// unable.
const ReasonNotAnnounced status.Reason = "NotAnnounced"

const (
	// announcedSettle is how long nodes must say the same before
	// ConditionAnnounced does, so that what several of them find out at about the
	// same time is one write.
	announcedSettle = 500 * time.Millisecond
	// announcedDoubt is how long it waits before it becomes False, and at most.
	announcedDoubt = 2 * time.Second
)

// Announcements say what nodes were seen to announce.
type Announcements interface {
	// Announced returns what is known, and whether all that there is to read has
	// been read. It must not block.
	Announced() (a Announced, read bool)
	// Run reads until the context is canceled.
	Run(ctx context.Context) error
}

// Announced is what nodes were seen to announce. It is immutable.
type Announced struct {
	Told       bool                   // nodes can tell
	Announcers map[cluster.Key]string // by Service, who announces it; none: nobody
	Reach      *Reach                 // nil: that is not known

	Sessions NodeSessions // nil: that is not known

	// Nowhere reports whether all nodes say that they lack an interface; nil: none
	// say so.
	Nowhere func(iface string) bool
}

// A Reach is where the endpoints of Services are.
type Reach struct {
	Nodes     []*cluster.Node                    // in the order of their names
	Endpoints map[cluster.Key][]cluster.Endpoint // usable ones, by Service
}

// announced is what a controller remembers of ConditionAnnounced from pass to
// pass. It completes Plans, and causes no write that can be part of another.
type announced struct {
	ignoreExclude bool // LabelExcludeNode has no meaning

	stale map[cluster.Key]stale // Services whose condition is not as it should be
	limit eventLimit            // of the events that go with changes of the condition

	config *config.Config  // in force
	index  *announce.Index // of config; nil: there was none yet

	down map[string]string // in this pass: what sessionsDown has said, by advertisements

	lacks map[*announce.Ads]lack // of one pass
}

// A stale condition waits to be written.
type stale struct {
	since time.Time         // it was not as it should be for the first time
	want  cluster.Condition // what it should be, zero for none
	heard time.Time         // that became so
	told  bool              // it is being written
	event *cluster.Event    // that goes with the write; nil: none does
}

// complete adds to a Plan what Services are to say of who announces them.
func (m *announced) complete(plan assign.Plan, s cluster.Snapshot, a Announced, class string, now time.Time) assign.Plan {
	if s.Config == nil {
		return plan
	}
	m.config, m.index = s.Config, m.index.Of(s.Config)
	m.down = map[string]string{}
	updates, rest := make([]assign.Update, 0, len(plan.Updates)), plan.Updates
	left := make(map[cluster.Key]stale)
	m.limit.sweep(now)
	m.lacks = map[*announce.Ads]lack{}
	for _, svc := range s.Services {
		var u *assign.Update
		if len(rest) > 0 && rest[0].Service == svc {
			updates = append(updates, rest[0])
			u, rest = &updates[len(updates)-1], rest[1:]
		}
		if !svc.LoadBalancer || svc.Class != class {
			continue
		}
		next := assign.Update{Service: svc, Condition: svc.Condition(assign.ConditionAddressAssigned)}
		if u != nil {
			next.Condition, next.Ingress = u.Condition, u.Ingress
		}
		if next.Condition == nil {
			continue // it is not Herald's, or not any more
		}
		if u == nil {
			next.Ingress, next.Pool = cluster.ParseIngress(svc.Ingress), svc.Annotations[assign.AnnotationPool]
		}
		next.Foreign = next.Condition.Reason == assign.ReasonForeign
		have, want := svc.Condition(ConditionAnnounced), m.verdict(svc, next.Ingress, a)
		if next.Foreign {
			want = nil
		}
		if have == nil && want == nil || have != nil && want != nil && *have == *want {
			if e, due := m.limit.late(svc.Key, have, now); e != nil {
				plan.Events = append(plan.Events, assign.ServiceEvent{Service: svc, Event: *e})
			} else if !due.IsZero() {
				plan.Next = wake.Earlier(plan.Next, due)
			}
			continue
		}
		w := m.wait(svc.Key, want, now)
		if due := w.due(have, want); now.Before(due) {
			plan.Next = wake.Earlier(plan.Next, due)
			left[svc.Key] = w
			continue
		}
		if u == nil {
			updates = append(updates, next)
			u = &updates[len(updates)-1]
		}
		u.Announced, u.Unannounced = want, want == nil
		if !w.told {
			w.told, w.event = true, m.limit.take(svc.Key, have, want, now)
		}
		if w.event != nil {
			// Not into the array that Assign made: it may have room.
			u.Events = append(slices.Clip(u.Events), *w.event)
		}
		left[svc.Key] = w
	}
	plan.Updates, m.stale = updates, left
	return plan
}

// wait returns since when a Service waits for this condition.
func (m *announced) wait(svc cluster.Key, want *cluster.Condition, now time.Time) stale {
	next := stale{since: now, heard: now}
	if want != nil {
		next.want = *want
	}
	old, ok := m.stale[svc]
	switch {
	case ok && old.want == next.want:
		return old
	case ok && !old.told:
		next.since = old.since
	}
	return next
}

// due returns when a condition is to be written: once nodes have said nothing new
// for a moment, or for long. What the configuration alone says of a Service need
// not wait, unless it was announced.
func (w stale) due(have, want *cluster.Condition) time.Time {
	late := w.since.Add(announcedDoubt)
	switch {
	case want == nil:
		return late
	case want.True:
		if soon := w.heard.Add(announcedSettle); soon.Before(late) {
			return soon
		}
		return late
	case want.Reason != status.NoAddress && want.Reason != status.NoAdvertisement || have != nil && have.True:
		return late
	}
	return w.since
}

// verdict returns the condition that a Service with these addresses should have;
// nil if that cannot be told.
func (m *announced) verdict(svc *cluster.Service, addrs []netip.Addr, a Announced) *cluster.Condition {
	if len(addrs) == 0 {
		return &cluster.Condition{Type: ConditionAnnounced, Reason: status.NoAddress, Message: "the Service has no address"}
	}
	if words := a.Announcers[svc.Key]; words != "" {
		return &cluster.Condition{Type: ConditionAnnounced, True: true, Reason: status.Announced, Message: words}
	}
	if lack := m.unadvertised(svc, addrs); lack != "" {
		return &cluster.Condition{Type: ConditionAnnounced, Reason: status.NoAdvertisement, Message: lack}
	}
	if !a.Told {
		return nil
	}
	if reason, lack := m.unable(svc, addrs, a); reason != "" {
		return &cluster.Condition{Type: ConditionAnnounced, Reason: reason, Message: lack}
	}
	if lack := m.unreachable(svc, addrs, a.Reach); lack != "" {
		return &cluster.Condition{Type: ConditionAnnounced, Reason: status.NoEndpoints, Message: lack}
	}
	if lack := m.unconnected(svc, addrs, a); lack != "" {
		return &cluster.Condition{Type: ConditionAnnounced, Reason: ReasonNotAnnounced, Message: lack}
	}
	return &cluster.Condition{Type: ConditionAnnounced, Reason: ReasonNotAnnounced, Message: "no node announces it"}
}

// unadvertised says why no node may announce any of the addresses; it is empty if
// one may.
func (m *announced) unadvertised(svc *cluster.Service, addrs []netip.Addr) string {
	var lacks []string
	for _, addr := range addrs {
		pool := m.index.Pool(addr)
		switch {
		case pool == nil:
			return ""
		case len(pool.BGP)+len(pool.Layer2) == 0:
			lacks = append(lacks, fmt.Sprintf("pool %s has no advertisement", pool.Name))
		case pool.Ads(svc.Labels).None():
			lacks = append(lacks, fmt.Sprintf("no advertisement of pool %s selects the Service", pool.Name))
		default:
			return ""
		}
	}
	if len(lacks) == 2 && lacks[0] == lacks[1] {
		lacks = lacks[:1]
	}
	return strings.Join(lacks, "; ")
}

// unreachable says that no node has reason to announce any of the addresses,
// because there is nothing behind them; it is empty if one has.
func (m *announced) unreachable(svc *cluster.Service, addrs []netip.Addr, r *Reach) string {
	if r == nil {
		return ""
	}
	lack := "the Service has no usable endpoint"
	for _, addr := range addrs {
		pool := m.index.Pool(addr)
		if pool == nil {
			return ""
		}
		for _, e := range r.Endpoints[svc.Key] {
			if e.IPv6 != addr.Is6() {
				continue
			}
			if !svc.Local || m.mayAnnounce(pool, svc, r.Nodes, e.Node) {
				return ""
			}
			lack = "the Service has no usable endpoint on a node that may announce it"
		}
	}
	return lack
}

// mayAnnounce reports whether an advertisement of the pool has a node announce a
// Service, and nothing is known of the node that forbids it.
func (m *announced) mayAnnounce(p *announce.Pool, svc *cluster.Service, nodes []*cluster.Node, node string) bool {
	n, known := cluster.FindNode(nodes, node)
	if announce.Refusal(n, known, announce.Options{IgnoreExcludeLB: m.ignoreExclude}) != "" {
		return false
	}
	return p.Ads(svc.Labels).ApplyToNode(n.Labels)
}
