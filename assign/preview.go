// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/excerpt"
	"github.com/heraldlb/herald/status"
)

// A Result is what a Service of type LoadBalancer has once a Plan is carried
// out.
type Result struct {
	Service cluster.Key
	Addrs   []netip.Addr // as in its status
	Pool    string       // empty: it has no address of a pool
	Reason  status.Reason
	Message string
	Lost    string // why it could not keep all that it had; empty: it could, or had nothing
}

// A Preview tries configurations on the Services of a cluster, with the code
// that a controller runs, and writes nothing.
type Preview struct {
	services   []*cluster.Service
	namespaces map[string]map[string]string
	allocator  *alloc.Allocator
	opts       Options
}

// NewPreview returns a Preview of a cluster, of which it takes Services and
// Namespaces. The earlier of two Services in the Snapshot is taken for the older.
func NewPreview(s cluster.Snapshot, opts Options) *Preview {
	p := &Preview{namespaces: named(s), allocator: alloc.New(nil), opts: opts}
	for i, svc := range s.Services {
		copied := *svc
		copied.Created = time.Unix(int64(i), 0)
		p.services = append(p.services, &copied)
	}
	return p
}

// labelName is the label that every API server gives a Namespace.
const labelName = "kubernetes.io/metadata.name"

// named returns the labels of all namespaces, with the one that every API
// server gives them.
func named(s cluster.Snapshot) map[string]map[string]string {
	out := map[string]map[string]string{}
	add := func(name string) {
		if out[name] == nil {
			out[name] = map[string]string{labelName: name}
			maps.Copy(out[name], s.Namespaces[name])
		}
	}
	for name := range s.Namespaces {
		add(name)
	}
	for _, svc := range s.Services {
		add(svc.Namespace)
	}
	return out
}

// Results returns what the Services have now, in their order.
func (p *Preview) Results() []Result {
	var out []Result
	for _, svc := range p.services {
		if svc.LoadBalancer {
			out = append(out, result(svc, p.opts.Class))
		}
	}
	return out
}

// Apply puts a configuration in force and returns what the Services have then,
// in their order.
func (p *Preview) Apply(cfg *config.Config) []Result {
	s := cluster.Snapshot{Config: cfg, Services: p.services, Namespaces: p.namespaces}
	plan := Assign(s, p.allocator, p.opts)
	lost := map[cluster.Key]string{}
	p.services = slices.Clone(p.services)
	for i, svc := range p.services {
		if len(plan.Updates) > 0 && plan.Updates[0].Service == svc {
			u := plan.Updates[0]
			plan.Updates = plan.Updates[1:]
			p.services[i], lost[svc.Key] = u.carriedOut(), u.Lost
		}
	}
	out := p.Results()
	for i := range out {
		out[i].Lost = lost[out[i].Service]
	}
	return out
}

// SharedAcross says which addresses Services of two namespaces share although neither the
// Services nor a reservation say so: pools with config.SharingNamed refuse that. The
// addresses are sorted.
func (p *Preview) SharedAcross(cfg *config.Config) []string {
	users := map[netip.Addr][]*cluster.Service{}
	pools := map[netip.Addr]string{}
	for _, svc := range p.services {
		r := result(svc, p.opts.Class)
		if !svc.LoadBalancer || r.Pool == "" {
			continue // without an address, or it is another load balancer's
		}
		for _, addr := range r.Addrs {
			users[addr], pools[addr] = append(users[addr], svc), r.Pool
		}
	}
	var out []string
	for _, addr := range slices.SortedFunc(maps.Keys(users), netip.Addr.Compare) {
		i := slices.IndexFunc(cfg.Pools, func(p config.Pool) bool { return p.Name == pools[addr] })
		if i < 0 {
			continue
		}
		if text := unnamed(addr, users[addr], cfg.Pools[i]); text != "" {
			out = append(out, text)
		}
	}
	return out
}

// unnamed says which two users of an address do not name each other's namespaces; empty
// if all do.
func unnamed(addr netip.Addr, users []*cluster.Service, pool config.Pool) string {
	reserved := func(svc *cluster.Service) bool {
		return slices.Contains(pool.Reservations, config.Reservation{Addr: addr, Namespace: svc.Namespace, Service: svc.Name})
	}
	for i, one := range users {
		for _, other := range users[i+1:] {
			if one.Namespace == other.Namespace || reserved(one) && reserved(other) {
				continue
			}
			silent, about := one, other
			if slices.Contains(one.Wish.ShareWith, other.Namespace) {
				silent, about = other, one
			}
			if slices.Contains(silent.Wish.ShareWith, about.Namespace) {
				continue
			}
			then := "would refuse it"
			if pool.Separate {
				then = "does not give it to them again"
			}
			return fmt.Sprintf("%s is shared across namespaces, by %s and %s: pool %s with %s: %s %s, since %s does not name %s in %s",
				addr, one.Key, other.Key, pool.Name, config.AnnotationPoolSharing, config.SharingNamed, then,
				silent.Key, about.Namespace, config.AnnotationShareWith)
		}
	}
	return ""
}

// carriedOut returns the Service of u as it is once u is written.
func (u Update) carriedOut() *cluster.Service {
	svc := *u.Service
	if !u.Foreign {
		svc.Ingress = nil
		for _, addr := range u.Ingress {
			svc.Ingress = append(svc.Ingress, addr.String())
		}
		if svc.Annotations = maps.Clone(svc.Annotations); svc.Annotations == nil {
			svc.Annotations = map[string]string{}
		}
		delete(svc.Annotations, AnnotationPool)
		if u.Pool != "" {
			svc.Annotations[AnnotationPool] = u.Pool
		}
	}
	svc.Conditions = slices.DeleteFunc(slices.Clone(svc.Conditions), func(c cluster.Condition) bool { return c.Type == ConditionAddressAssigned })
	if u.Condition != nil {
		svc.Conditions = append(svc.Conditions, *u.Condition)
	}
	return &svc
}

// result reads off a Service what it has.
func result(svc *cluster.Service, class string) Result {
	r := Result{Service: svc.Key, Addrs: cluster.ParseIngress(svc.Ingress), Pool: svc.Annotations[AnnotationPool]}
	c := svc.Condition(ConditionAddressAssigned)
	switch {
	case svc.Class != class && svc.Class != "":
		r.Pool, r.Reason, r.Message = "", ReasonForeign, "the Service is of class "+excerpt.Word(svc.Class)
	case svc.Class != class:
		r.Pool, r.Reason, r.Message = "", ReasonForeign, "the Service has no class"
	case c == nil && len(svc.Ingress) > 0:
		r.Pool, r.Reason, r.Message = "", ReasonForeign, "what the status of the Service names is of no pool"
	case c != nil:
		r.Reason, r.Message = c.Reason, c.Message
	}
	return r
}

// A Change is what becomes of a Service's addresses.
type Change string

// The Changes.
const (
	Keep Change = "keep" // the same addresses, or still none
	Lose Change = "lose" // some or all, without others in their place
	Move Change = "move" // others
	Gain Change = "gain" // more
)

// ChangeOf returns what becomes of a Service that has one and then the other.
func ChangeOf(before, after []netip.Addr) Change {
	within := func(x, y []netip.Addr) bool {
		return !slices.ContainsFunc(x, func(a netip.Addr) bool { return !slices.Contains(y, a) })
	}
	switch {
	case within(before, after) && within(after, before):
		return Keep
	case within(after, before):
		return Lose
	case within(before, after):
		return Gain
	}
	return Move
}
