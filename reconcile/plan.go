// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"net/netip"
	"time"

	"github.com/heraldlb/herald/status"
)

// Names that Herald reads or writes on a Service.
const (
	// ConditionAddressAssigned says whether the Service has the addresses it
	// asks for.
	ConditionAddressAssigned = "heraldlb.io/AddressAssigned"
	// AnnotationPool names the pool that the addresses are from.
	AnnotationPool = "metallb.io/ip-allocated-from-pool"
)

// Reasons of ConditionAddressAssigned, besides those of an alloc.Refusal.
const (
	ReasonAssigned       status.Reason = "Assigned"       // the condition is True
	ReasonInvalidRequest status.Reason = "InvalidRequest" // what the Service asks for makes no sense
	ReasonNoClusterIP    status.Reason = "NoClusterIP"    // it has no cluster IP to tell its families by
	ReasonNotDualStack   status.Reason = "NotDualStack"   // it requires two families and has one cluster IP
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

// A Plan is what the controller wants to be true of Services and pools. It
// names only Services that differ from their snapshot.
type Plan struct {
	Updates []Update       // in the order of the snapshot's Services
	Pools   []status.Pool  // in document order
	Events  []ServiceEvent // that go with no update
	Next    time.Time      // decide again then, should nothing change before; zero: no need
}

// A ServiceEvent is an Event and the Service that it is about.
type ServiceEvent struct {
	Service *Service
	Event
}

// An Update is the whole of what the controller writes to one Service.
type Update struct {
	Service   *Service     // as it was in the snapshot
	Ingress   []netip.Addr // status.loadBalancer.ingress; empty clears it
	Pool      string       // value of AnnotationPool; empty removes it
	Condition *Condition   // ConditionAddressAssigned; nil removes it, and ConditionAnnounced with it
	Lost      string       // why the Service may not keep all that it had; empty: it may, or had nothing
	Events    []Event

	Announced   *Condition // ConditionAnnounced; nil leaves it as it is
	Unannounced bool       // removes ConditionAnnounced
}

// An Event is a Kubernetes event about a Service or the configuration.
type Event struct {
	Warning bool
	Reason  string // as metallb's, see Event* constants
	Message string
}
