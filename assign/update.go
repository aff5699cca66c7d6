// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/excerpt"
	"github.com/heraldlb/herald/status"
)

// An indexedUpdate is an Update with the place of its Service in the snapshot.
type indexedUpdate struct {
	index int
	Update
}

// report compares what is to be true of a Service with its snapshot. It makes
// no garbage if they agree.
func (p *assignment) report(ap *applicant) {
	now := ap.svc.Condition(ConditionAddressAssigned)
	assigned, reason := ap.problem == nil && len(ap.held.Addrs) > 0, ap.reason()
	p.scratch = p.appendReserved(ap.appendMessage(p.scratch[:0]), ap)
	remarks := p.remarks(ap)
	for _, r := range remarks {
		p.scratch = append(append(p.scratch, "; "...), r.Message...)
	}
	p.scratch = bounded(p.scratch)
	changed := now == nil || now.True != assigned || now.Reason != reason || now.Message != string(p.scratch)
	shown := sameIngress(ap.svc.Ingress, ap.held.Addrs)
	if shown && !changed && samePool(ap.svc.Annotations, ap.held.Pool) && len(ap.events) == 0 {
		return
	}
	u := Update{
		Service:   ap.svc,
		Ingress:   ap.held.Addrs,
		Pool:      ap.held.Pool,
		Condition: &cluster.Condition{Type: ConditionAddressAssigned, True: assigned, Reason: reason, Message: string(p.scratch)},
		Events:    ap.events,
	}
	if ap.lost != nil {
		u.Lost = ap.lost.Detail
	}
	if shown {
		u.Ingress = cluster.ParseIngress(ap.svc.Ingress) // in the order that is there
	}
	if e := ap.failure(); e != nil && changed {
		u.Events = append(u.Events, *e)
	}
	// Once: when the Service is first seen, or gets other addresses.
	if now == nil && (ap.adopted || len(u.Events) > 0) || now != nil && now.True && ap.assigned() {
		for _, name := range ap.svc.Wish.Deprecated {
			u.Events = append(u.Events, cluster.Event{Warning: true, Reason: EventDeprecated, Message: "Service uses deprecated annotation " + name})
		}
	}
	u.Events = append(u.Events, news(remarks, now)...)
	p.updates = append(p.updates, indexedUpdate{ap.index, u})
}

// clear removes from a Service what Herald wrote. The status stays if it is
// another load balancer's.
func (p *assignment) clear(i int, svc *cluster.Service, foreign bool) {
	c := svc.Condition(ConditionAddressAssigned)
	if foreign || c != nil && c.Reason == ReasonForeign {
		if c != nil {
			p.updates = append(p.updates, indexedUpdate{i, Update{Service: svc, Foreign: true, Ingress: cluster.ParseIngress(svc.Ingress)}})
		}
		return
	}
	if len(svc.Ingress) > 0 || c != nil || !samePool(svc.Annotations, "") {
		p.updates = append(p.updates, indexedUpdate{i, Update{Service: svc}})
	}
}

// bounded returns b as a message that may be written: see excerpt.Message. It makes no
// garbage if b is plain and short.
func bounded(b []byte) []byte {
	plain := len(b) <= excerpt.MaxMessage && !slices.ContainsFunc(b, func(c byte) bool { return c < ' ' || c >= 0x7f })
	if plain {
		return b
	}
	return append(b[:0], excerpt.Message(string(b))...)
}

// reason returns the condition's reason.
func (ap *applicant) reason() status.Reason {
	switch {
	case ap.problem != nil:
		return ap.problem.reason
	case len(ap.held.Addrs) > 0:
		return ReasonAssigned
	}
	return status.Reason(ap.refusal.Reason)
}

// appendMessage appends the condition's message to b.
func (ap *applicant) appendMessage(b []byte) []byte {
	holds := len(ap.held.Addrs) > 0
	if ap.problem != nil {
		b = append(b, ap.problem.detail...)
		if holds {
			b = append(b, "; the Service keeps "...)
		}
	}
	switch {
	case holds:
		b = appendAddrs(b, ap.held.Addrs)
		b = append(b, " from pool "...)
		b = append(b, ap.held.Pool...)
		if ap.refusal != nil {
			b = append(b, "; "...)
			b = append(b, ap.refusal.Detail...)
		}
	case ap.problem == nil:
		b = append(b, ap.refusal.Detail...)
	}
	return b
}

// appendReserved says what is reserved for a Service that has another address
// of the family.
func (p *assignment) appendReserved(b []byte, ap *applicant) []byte {
	if len(ap.held.Addrs) == 0 {
		return b
	}
	for _, addr := range p.Reserved(alloc.Key(ap.svc.Key)) {
		other := slices.ContainsFunc(ap.held.Addrs, func(a netip.Addr) bool { return a.Is4() == addr.Is4() })
		if other && !slices.Contains(ap.held.Addrs, addr) {
			b = append(b, "; "...)
			b = addr.AppendTo(b)
			b = append(b, " is reserved for the Service"...)
		}
	}
	return b
}

// appendAddrs appends one or two addresses, IPv4 first.
func appendAddrs(b []byte, addrs []netip.Addr) []byte {
	first, last := addrs[0], addrs[len(addrs)-1]
	if len(addrs) == 1 {
		return first.AppendTo(b)
	}
	if last.Is4() {
		first, last = last, first
	}
	b = first.AppendTo(b)
	b = append(b, ", "...)
	return last.AppendTo(b)
}

// failure returns the event about what the Service wants and does not have;
// nil if there is no such thing.
func (ap *applicant) failure() *cluster.Event {
	holds := len(ap.held.Addrs) > 0
	switch {
	case holds && ap.problem != nil && ap.problem.reason == ReasonInvalidRequest:
		return &cluster.Event{Warning: true, Reason: EventBadRequest, Message: "invalid requested loadbalancer IPs: " + ap.problem.detail}
	case holds && ap.problem != nil:
		return &cluster.Event{Warning: true, Reason: EventBadRequest, Message: "invalid request: " + ap.problem.detail}
	case holds && ap.refusal != nil:
		return &cluster.Event{Warning: false, Reason: EventNotBoth, Message: "cannot assign additional IP in PreferDualStack: " + ap.refusal.Detail}
	case holds:
		return nil
	case ap.problem != nil:
		return &cluster.Event{Warning: true, Reason: EventNoAddress, Message: fmt.Sprintf("Failed to allocate IP for %q: %s", ap.svc.Key, ap.problem.detail)}
	}
	return &cluster.Event{Warning: true, Reason: EventNoAddress, Message: fmt.Sprintf("Failed to allocate IP for %q: %s", ap.svc.Key, ap.refusal.Detail)}
}

// assigned reports whether the Service got an address in this pass.
func (ap *applicant) assigned() bool {
	return slices.ContainsFunc(ap.events, func(e cluster.Event) bool { return e.Reason == EventAssigned })
}

// marked reports whether svc shows that Herald, or MetalLB before it, gave it
// its addresses.
func marked(svc *cluster.Service) bool {
	c := svc.Condition(ConditionAddressAssigned)
	_, annotated := svc.Annotations[AnnotationPool]
	return annotated || c != nil && c.True
}

// sameIngress reports whether a status shows addrs, of which no two are alike,
// and nothing else.
func sameIngress(ingress []string, addrs []netip.Addr) bool {
	if len(ingress) != len(addrs) {
		return false
	}
	for _, addr := range addrs {
		if !slices.ContainsFunc(ingress, func(s string) bool {
			shown, err := netip.ParseAddr(s)
			return err == nil && shown == addr
		}) {
			return false
		}
	}
	return true
}

// samePool reports whether AnnotationPool says pool, or is not there if pool
// is empty.
func samePool(annotations map[string]string, pool string) bool {
	v, ok := annotations[AnnotationPool]
	return v == pool && ok == (pool != "")
}
