// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// Names that Herald reads or writes on a Service.
const (
	// ConditionAddressAssigned says whether the Service has the addresses it
	// asks for.
	ConditionAddressAssigned = "heraldlb.io/AddressAssigned"
	// AnnotationPool names the pool that the addresses are from.
	AnnotationPool = config.AnnotationAllocatedFrom
)

// Reasons of ConditionAddressAssigned, besides those of an alloc.Refusal.
const (
	ReasonAssigned       status.Reason = "Assigned"       // the condition is True
	ReasonInvalidRequest status.Reason = "InvalidRequest" // what the Service asks for makes no sense
	ReasonNoClusterIP    status.Reason = "NoClusterIP"    // it has no cluster IP to tell its families by
	ReasonNotDualStack   status.Reason = "NotDualStack"   // it requires two families and has one cluster IP
	ReasonForeign        status.Reason = "Foreign"        // its status is another load balancer's and is left alone
)

// Reasons of the events about a Service's addresses, as MetalLB spells them.
const (
	EventAssigned   = "IPAllocated"
	EventNoAddress  = "AllocationFailed"       // warning
	EventLost       = "ClearAssignment"        // the configuration or another Service took the address
	EventBadRequest = "LoadBalancerFailed"     // warning; the Service keeps what it holds
	EventNotBoth    = "AdditionalAssignFailed" // PreferDualStack got one family
	EventDeprecated = "deprecatedAnnotation"   // warning
)

// Reasons of the events about what Services of others, and people, write.
const (
	EventForeign   = "ForeignAddress"    // the status is another load balancer's
	EventTakenOver = "TakenOver"         // it was, and now the Service has an address of a pool
	EventUnknown   = "UnknownAnnotation" // warning; of a Node and a Service
)

// A Plan is what the controller wants to be true of Services and pools. It
// names only Services that differ from their snapshot.
type Plan struct {
	Updates []Update       // in the order of the snapshot's Services
	Pools   []status.Pool  // in document order
	Clashes []status.Clash // in the order of the Services' keys, then of addresses
	Events  []ServiceEvent // that go with no update
	Next    time.Time      // decide again then, should nothing change before; zero: no need
}

// PlanTables are a Plan for a loop that decides again and again: two versions show in
// microseconds which Updates differ. An Update that is the same stays the same pointer.
type PlanTables struct {
	Updates table.Table[cluster.Key, *Update]
	Pools   []status.Pool  // in document order
	Clashes []status.Clash // in the order of the Services' keys, then of addresses
	Events  []ServiceEvent // that go with no update
	Next    time.Time      // decide again then, should nothing change before; zero: no need
}

// TableOf returns Updates by Service.
func TableOf(updates []Update) table.Table[cluster.Key, *Update] {
	return table.Of(func(yield func(cluster.Key, *Update) bool) {
		for i := range updates {
			if !yield(updates[i].Service.Key, &updates[i]) {
				return
			}
		}
	})
}

// List returns the same as lists.
func (p PlanTables) List() Plan {
	out := Plan{Pools: p.Pools, Clashes: p.Clashes, Events: p.Events, Next: p.Next}
	for _, u := range p.Updates.All() {
		out.Updates = append(out.Updates, *u)
	}
	return out
}

// A ServiceEvent is an Event and the Service that it is about.
type ServiceEvent struct {
	Service *cluster.Service
	cluster.Event
}

// An Update is the whole of what the controller writes to one Service.
type Update struct {
	Service   *cluster.Service   // as it was in the snapshot
	Ingress   []netip.Addr       // status.loadBalancer.ingress; empty clears it
	Pool      string             // value of AnnotationPool; empty removes it
	Condition *cluster.Condition // ConditionAddressAssigned; nil removes it, and ConditionAnnounced with it
	Foreign   bool               // Ingress and Pool are another load balancer's: they are not written
	Lost      string             // why the Service may not keep all that it had; empty: it may, or had nothing
	Events    []cluster.Event

	Announced   *cluster.Condition // ConditionAnnounced; nil leaves it as it is
	Unannounced bool               // removes ConditionAnnounced
}

// Same reports whether two Updates are made from one version of a Service, and are equal.
func (u *Update) Same(o *Update) bool {
	equal := func(a, b *cluster.Condition) bool { return a == b || a != nil && b != nil && *a == *b }
	return u == o || u != nil && o != nil && u.Service == o.Service && slices.Equal(u.Ingress, o.Ingress) && u.Pool == o.Pool &&
		equal(u.Condition, o.Condition) && u.Foreign == o.Foreign && u.Lost == o.Lost && slices.Equal(u.Events, o.Events) &&
		equal(u.Announced, o.Announced) && u.Unannounced == o.Unannounced
}

// EventConflict is the reason of an event about a Service, a warning: a host that is
// none of Herald's, or another load balancer's Service, has its address.
const EventConflict = "AddressConflict"

// plan puts everything in the snapshot's order.
func (p *assignment) plan() Plan {
	slices.SortFunc(p.updates, func(x, y indexedUpdate) int { return x.index - y.index })
	out := Plan{Clashes: p.clashes}
	for _, u := range p.updates {
		out.Updates = append(out.Updates, u.Update)
	}
	sortClashes(out.Clashes)
	out.Pools = poolsOf(p.Usage())
	out.Next = p.Expire(p.opts.Now)
	return out
}

// sortClashes orders clashes by Service, then address.
func sortClashes(all []status.Clash) {
	slices.SortFunc(all, func(x, y status.Clash) int {
		return cmp.Or(cluster.ParseKey(x.Service).Compare(cluster.ParseKey(y.Service)), x.Addr.Compare(y.Addr))
	})
}

// poolsOf returns the counters of pools.
func poolsOf(usage []alloc.Usage) []status.Pool {
	var out []status.Pool
	for _, u := range usage {
		pool := status.Pool{
			Name: u.Pool, TotalV4: u.TotalV4, TotalV6: u.TotalV6,
			InUseV4: u.InUseV4, InUseV6: u.InUseV6,
			ReservedV4: u.ReservedV4, ReservedV6: u.ReservedV6,
			RetainedV4: u.RetainedV4, RetainedV6: u.RetainedV6,
			Services: u.Services,
		}
		for _, s := range u.Shares {
			pool.Quota = append(pool.Quota, status.Share(s))
		}
		out = append(out, pool)
	}
	return out
}
