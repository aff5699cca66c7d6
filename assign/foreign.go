// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/excerpt"
	"github.com/heraldlb/herald/status"
)

// outsiders yields the Services of other classes whose status shows addresses.
// Those that Herald held until now are not among them: their status is cleared.
//
// What spec.externalIPs or spec.loadBalancerIP of such a Service names does not
// count: with them, everybody who may write a Service could take a whole pool.
func (p *assignment) outsiders(services []*cluster.Service) iter.Seq[alloc.Outsider] {
	return func(yield func(alloc.Outsider) bool) {
		var o alloc.Outsider
		class := ""
		for _, svc := range services {
			if !svc.LoadBalancer || svc.Class == p.opts.Class || len(svc.Ingress) == 0 {
				continue
			}
			o.Service = alloc.Key(svc.Key)
			if _, ours := p.Get(o.Service); ours {
				continue
			}
			if o.Whose == "" || class != svc.Class {
				class, o.Whose = svc.Class, whose(svc)
			}
			o.Addrs = outsideAddrs(o.Addrs[:0], svc)
			if len(o.Addrs) > 0 && !yield(o) {
				return
			}
		}
	}
}

// whose completes "a Service …" for one of another class.
func whose(svc *cluster.Service) string {
	if svc.Class == "" {
		return "without a load balancer class"
	}
	return "of class " + excerpt.Word(svc.Class)
}

// foreign reports whether the status of an applicant, which shows these addresses,
// is another load balancer's. With a class of its own Herald has no other beside
// it.
func (p *assignment) foreign(ap *applicant, addrs []netip.Addr) bool {
	return p.opts.Class == "" && !marked(ap.svc) && !slices.ContainsFunc(addrs, p.InPool)
}

// asks reports whether an applicant names an address or a pool.
func (ap *applicant) asks() bool { return len(ap.req.Addrs) > 0 || ap.req.Pool != "" }

// maxForeignShown bounds how much of a foreign status a message shows.
const maxForeignShown = 4

// foreignStatus says what the status of a Service shows that Herald did not write.
func foreignStatus(svc *cluster.Service) string {
	var names []string
	for _, name := range svc.Ingress[:min(len(svc.Ingress), maxForeignShown)] {
		names = append(names, excerpt.Word(name))
	}
	shown := strings.Join(names, ", ")
	if more := len(svc.Ingress) - maxForeignShown; more > 0 {
		shown += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("another load balancer wrote the status, which names %s and no address of a pool", shown)
}

// reportForeign says that the status of a Service is another load balancer's, and
// leaves it.
func (p *assignment) reportForeign(ap *applicant) {
	message := foreignStatus(ap.svc) + "; it is left alone"
	switch {
	case ap.problem != nil:
		message += "; " + ap.problem.detail
	case ap.refusal != nil:
		message += ", as the Service cannot have what it asks for; " + ap.refusal.Detail
	default:
		message += fmt.Sprintf("; Herald assigns an address when the Service asks for one by %s or %s, or when the status is emptied",
			config.AnnotationAddrs, config.AnnotationAddressPool)
	}
	remarks := p.remarks(ap)
	for _, r := range remarks {
		message += "; " + r.Message
	}
	message = excerpt.Message(message)
	want := cluster.Condition{Type: ConditionAddressAssigned, True: false, Reason: ReasonForeign, Message: message}
	now := ap.svc.Condition(ConditionAddressAssigned)
	if now != nil && *now == want {
		return
	}
	u := Update{
		Service: ap.svc, Foreign: true,
		Ingress: cluster.ParseIngress(ap.svc.Ingress), Pool: ap.svc.Annotations[AnnotationPool],
		Condition: &want,
		Events:    append([]cluster.Event{{Reason: EventForeign, Message: message}}, news(remarks, now)...),
	}
	p.updates = append(p.updates, indexedUpdate{ap.index, u})
}

// remarks returns what there is to say about an applicant besides whether it has
// its addresses, as warnings. They are part of the condition's message. It makes
// no garbage if there are none.
func (p *assignment) remarks(ap *applicant) (out []cluster.Event) {
	for _, addr := range ap.held.Addrs {
		o, ok := p.Clash(addr)
		if !ok {
			continue
		}
		other := cluster.Key(o.Service)
		p.clashes = append(p.clashes, status.Clash{Addr: addr, Service: ap.svc.Key.String(), Other: other.String()})
		out = append(out, cluster.Event{Warning: true, Reason: EventConflict, Message: fmt.Sprintf(
			"%s is in the status of %s, too, a Service %s: give that load balancer addresses of no pool of Herald, and one of the two Services another address",
			addr, other, o.Whose)})
	}
	if ap.svc.Unknown != "" {
		out = append(out, cluster.Event{Warning: true, Reason: EventUnknown, Message: ap.svc.Unknown})
	}
	return out
}

// news returns those remarks that a condition does not have yet.
func news(remarks []cluster.Event, now *cluster.Condition) (out []cluster.Event) {
	for _, r := range remarks {
		if now == nil || !strings.Contains(now.Message, r.Message) {
			out = append(out, r)
		}
	}
	return out
}
