// SPDX-License-Identifier: Apache-2.0

// Package assign decides which Service gets which addresses. It is pure: a Plan says
// what is to be written, and the controller has it written.
package assign

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

// Options says which Services are Herald's, and what becomes of the
// addresses of those that go.
type Options struct {
	Class string        // optional: the loadBalancerClass to handle; empty: Services without one
	Grace time.Duration // optional: how long the address of a Service that is gone is kept for one of the same name
	Now   time.Time     // required with Grace
}

// Assign decides which Service has which address. It changes a, the memory of
// what every Service holds; nothing else remembers from one pass to the next,
// and a new Allocator learns it from the Services' statuses.
//
// Services that hold addresses keep them before any is given out, and the
// older of two Services wins. No address is taken because a configuration or
// a request is invalid; without a configuration nothing is decided at all.
//
// Snapshots may be older than the last Plan: what a Service holds is then in a
// alone, and the same Update comes again until the snapshot shows it.
func Assign(s cluster.Snapshot, a *alloc.Allocator, opts Options) Plan {
	if s.Config == nil {
		return Plan{}
	}
	a.SetPools(s.Config.Pools)
	p := &assignment{Allocator: a, namespaces: s.Namespaces, opts: opts}
	a.Expire(opts.Now)
	a.Outsiders(p.outsiders(s.Services))
	held := p.Len()
	if known := p.sift(s.Services); known != held {
		p.releaseMissing(s.Services)
	}
	p.decide()
	return p.plan()
}

// decide decides about the applicants, and reports on them.
func (p *assignment) decide() {
	p.settle()
	p.claim()
	p.complete()
	p.allocate()
	p.extend()
	p.refresh()
	for _, ap := range p.applicants {
		if ap.foreign {
			p.reportForeign(ap)
		} else {
			p.report(ap)
		}
	}
}

// An assignment is one pass of Assign. The Services whose case is plain, which
// hold what they ask for, are done with in sift; the others become applicants,
// who go through the lists from top to bottom.
type assignment struct {
	*alloc.Allocator
	namespaces map[string]map[string]string
	opts       Options
	updates    []indexedUpdate
	clashes    []status.Clash
	released   []cluster.Key // Services that were Herald's until now
	scratch    []byte

	given      int // how many times an address was given out
	applicants []*applicant
	refused    []*applicant // hold addresses and may not keep them as things are
	claimants  []*applicant // have addresses in their status that the Allocator does not know of
	incomplete []*applicant // hold one address and want two
	waiting    []*applicant // hold nothing
}

// An applicant is a Service that wants something.
type applicant struct {
	index   int // in the snapshot
	svc     *cluster.Service
	req     alloc.Request
	problem *problem // with the request; nil: none
	held    alloc.Assignment
	refusal *alloc.Refusal // of what it wants
	lost    *alloc.Refusal // of what it had
	asked   int            // assignment.given when that was
	foreign bool           // its status is another load balancer's: leave that alone
	bereft  bool           // it held two addresses and lost one
	adopted bool           // its status was the first to say what it holds
	events  []cluster.Event
}

// sift separates the plain cases from the applicants and releases what is held
// by Services that are not Herald's any more. It returns how many Services the Allocator
// knew to hold addresses.
func (p *assignment) sift(services []*cluster.Service) (known int) {
	for i, svc := range services {
		if svc.LoadBalancer && svc.Class == p.opts.Class {
			if p.consider(i, svc) {
				known++
			}
			continue
		}
		held, ours := p.Get(alloc.Key(svc.Key))
		if ours {
			known++
			p.Release(alloc.Key(svc.Key))
			p.released = append(p.released, svc.Key)
		}
		// A Service that changes its type loses its class with it, so the
		// class of a Service that is no LoadBalancer says nothing.
		if ours || !svc.LoadBalancer && p.left(svc) {
			p.clear(i, svc, ours && svc.LoadBalancer && !sameIngress(svc.Ingress, held.Addrs))
		}
	}
	return known
}

// releaseMissing releases what is held by Services that are not among these.
func (p *assignment) releaseMissing(services []*cluster.Service) {
	exists := make(map[alloc.Key]bool, len(services))
	for _, svc := range services {
		exists[alloc.Key(svc.Key)] = true
	}
	for key := range p.Services() {
		if !exists[key] {
			p.gone(key)
		}
	}
}

// gone releases what a Service holds that was deleted.
func (p *assignment) gone(key alloc.Key) {
	if p.opts.Grace > 0 {
		p.Retire(key, p.opts.Now.Add(p.opts.Grace))
		return
	}
	p.Release(key)
}

// left reports whether svc, which is no LoadBalancer, bears marks of when it
// was one.
func (p *assignment) left(svc *cluster.Service) bool {
	if svc.Condition(ConditionAddressAssigned) != nil {
		return true
	}
	// Another load balancer's of the same heritage may write the annotation
	// too, for Services of a class of its own.
	_, annotated := svc.Annotations[AnnotationPool]
	return annotated && p.opts.Class == ""
}

// consider looks at a Service that Herald serves, and reports whether the Allocator
// knew it to hold addresses.
func (p *assignment) consider(i int, svc *cluster.Service) (known bool) {
	req, problem := p.request(svc)
	held, err := p.Keep(req)
	known = err != nil || len(held.Addrs) > 0
	switch {
	case is(err, alloc.Replaced):
		p.gone(req.Service)
		held, err = alloc.Assignment{}, nil
	case known && req.Families == 0:
		p.Release(req.Service)
		held, err = alloc.Assignment{}, nil
	case known && err == nil && (problem != nil || !req.Families.Lacks(held.Addrs)):
		p.report(&applicant{index: i, svc: svc, problem: problem, held: held})
		return known
	}
	ap := &applicant{index: i, svc: svc, req: req, problem: problem, held: held}
	p.applicants = append(p.applicants, ap)
	switch {
	case err != nil:
		p.refused = append(p.refused, ap)
	case len(held.Addrs) > 0:
		p.incomplete = append(p.incomplete, ap)
	case len(svc.Ingress) > 0:
		p.claimants = append(p.claimants, ap)
	default:
		p.waiting = append(p.waiting, ap)
	}
	return known
}

// settle decides who of the refused keeps what. They may have been refused
// because of each other: those that change the same way together stay together.
func (p *assignment) settle() {
	slices.SortFunc(p.refused, func(x, y *applicant) int { return bySeniority(y, x) })
	for _, ap := range p.refused {
		if ap.held, ap.refusal = try(p.Keep(ap.req)); ap.refusal != nil {
			ap.held = p.Release(ap.req.Service)
		}
	}
	for _, ap := range slices.Backward(p.refused) {
		if ap.refusal == nil {
			p.admit(ap)
			continue
		}
		p.reclaim(ap, ap.held.Addrs)
	}
}

// claim adopts what the statuses of Services say they hold.
func (p *assignment) claim() {
	slices.SortFunc(p.claimants, bySeniority)
	for _, ap := range p.claimants {
		addrs := cluster.ParseIngress(ap.svc.Ingress)
		if p.foreign(ap, addrs) {
			ap.foreign = true
			p.waiting = append(p.waiting, ap)
			continue
		}
		ap.adopted = true
		p.reclaim(ap, addrs)
	}
}

// reclaim lets an applicant have the addresses that it had, or sends it to
// those that wait.
func (p *assignment) reclaim(ap *applicant, addrs []netip.Addr) {
	ap.held = alloc.Assignment{}
	if ap.req.Families == 0 {
		p.waiting = append(p.waiting, ap)
		return
	}
	if ap.held, ap.refusal = try(p.Claim(ap.req, addrs)); ap.refusal == nil {
		p.admit(ap)
		return
	}
	ap.lost = ap.refusal
	if ap.refusal.Reason != alloc.Superseded {
		ap.events = append(ap.events, cluster.Event{
			Reason: EventLost,
			Message: fmt.Sprintf("current IP for %q not allowed by config, will attempt for new IP assignment: %s",
				ap.svc.Key, ap.refusal),
		})
	}
	// One of two may still be good, and is better than none: extend looks for
	// two of another pool.
	if len(addrs) == 2 && (ap.req.Families == alloc.PreferIPv4 || ap.req.Families == alloc.PreferIPv6) {
		for i := range addrs {
			if held, refusal := try(p.Claim(ap.req, addrs[i:i+1])); refusal == nil {
				ap.held, ap.refusal, ap.bereft = held, nil, true
				p.admit(ap)
				return
			}
		}
	}
	p.waiting = append(p.waiting, ap)
}

// admit is for an applicant that holds something.
func (p *assignment) admit(ap *applicant) {
	if ap.problem == nil && ap.req.Families.Lacks(ap.held.Addrs) {
		p.incomplete = append(p.incomplete, ap)
	}
}

// complete gives those that insist on two addresses the second. Who does not
// get it from its pool waits for two of another one.
func (p *assignment) complete() {
	slices.SortFunc(p.incomplete, bySeniority)
	p.incomplete = slices.DeleteFunc(p.incomplete, func(ap *applicant) bool {
		if ap.req.Families != alloc.DualStack {
			return false
		}
		if !p.add(ap) {
			p.Release(ap.req.Service)
			ap.held = alloc.Assignment{}
			p.waiting = append(p.waiting, ap)
		}
		return true
	})
}

// allocate gives addresses to those that hold none.
func (p *assignment) allocate() {
	slices.SortFunc(p.waiting, bySeniority)
	for _, ap := range p.waiting {
		if ap.problem == nil && (!ap.foreign || ap.asks()) && p.serve(ap) {
			p.admit(ap)
		}
	}
}

// extend gives those that prefer two addresses the second. They come after
// those that have nothing.
func (p *assignment) extend() {
	slices.SortFunc(p.incomplete, bySeniority)
	for _, ap := range p.incomplete {
		if !p.add(ap) && ap.bereft {
			p.move(ap)
		}
	}
}

// move gives an applicant that has lost one of two addresses two of another
// pool, or leaves it what it has.
func (p *assignment) move(ap *applicant) {
	both := ap.req
	both.Families = alloc.DualStack
	held, refusal := try(p.Allocate(both))
	if refusal != nil {
		ap.held, _ = try(p.Claim(ap.req, ap.held.Addrs)) // nobody took them meanwhile
		return
	}
	p.given++
	ap.held, ap.refusal = held, nil
	ap.events = append(ap.events, cluster.Event{Reason: EventAssigned, Message: fmt.Sprintf("Assigned IP %q", held.Addrs)})
}

// refresh asks again for those that were refused before the last address was
// given out, so that the numbers they are told are those at the end of the
// pass.
func (p *assignment) refresh() {
	for _, ap := range p.waiting {
		if ap.problem == nil && ap.refusal != nil && len(ap.held.Addrs) == 0 && ap.asked < p.given {
			p.serve(ap)
		}
	}
	for _, ap := range p.incomplete {
		if ap.refusal != nil && ap.asked < p.given {
			p.add(ap)
		}
	}
}

// serve gives an applicant what it asks for and reports whether it could.
func (p *assignment) serve(ap *applicant) bool {
	ap.asked = p.given
	ap.held, ap.refusal = try(p.Allocate(ap.req))
	if ap.refusal != nil {
		return false
	}
	p.given++
	if ap.foreign {
		ap.foreign = false
		ap.events = append(ap.events, cluster.Event{Reason: EventTakenOver, Message: foreignStatus(ap.svc) + "; the Service asks for an address of a pool and gets one"})
	}
	ap.events = append(ap.events, cluster.Event{Reason: EventAssigned, Message: fmt.Sprintf("Assigned IP %q", ap.held.Addrs)})
	return true
}

// add gives an applicant a second address and reports whether it could.
func (p *assignment) add(ap *applicant) bool {
	ap.asked = p.given
	var addr netip.Addr
	addr, ap.refusal = try(p.Extend(ap.req))
	if ap.refusal != nil {
		return false
	}
	p.given++
	ap.held, _ = p.Get(ap.req.Service)
	ap.events = append(ap.events, cluster.Event{Reason: EventAssigned, Message: fmt.Sprintf("Assigned additional IP %q", addr)})
	return true
}

// bySeniority orders applicants by age, then name.
func bySeniority(x, y *applicant) int {
	if c := x.svc.Created.Compare(y.svc.Created); c != 0 {
		return c
	}
	return x.svc.Key.Compare(y.svc.Key)
}

// try turns the error of an Allocator's method into the Refusal that it is.
func try[T any](v T, err error) (T, *alloc.Refusal) {
	r, ok := errors.AsType[*alloc.Refusal](err)
	if err != nil && !ok {
		panic(fmt.Sprintf("reconcile: the allocator returned %v, which is no refusal", err))
	}
	return v, r
}

// is reports whether err is a Refusal for that reason.
func is(err error, reason alloc.Reason) bool {
	r, ok := errors.AsType[*alloc.Refusal](err)
	return ok && r.Reason == reason
}
