// SPDX-License-Identifier: Apache-2.0

package assign_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
)

// TestAssignRandomly changes a small world at random and checks after every
// pass what must always be true.
func TestAssignRandomly(t *testing.T) {
	for i := range 6 {
		seed := rand.Uint64()
		grace := i%3 == 2
		t.Run(fmt.Sprintf("seed=%#x grace=%t", seed, grace), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			w := newWorld(t)
			w.command("pools p0=10.0.0.0/30,fd00::/126")
			if grace {
				w.command("grace 10s")
			}
			for step := range 1500 {
				w.command(fmt.Sprintf("wait %ds", r.IntN(4)))
				was := w.assigned()
				for range 1 + r.IntN(3) {
					w.command(randomCommand(r))
				}
				if r.IntN(10) == 0 {
					w.stale = true
					w.pass()
				}
				if text := w.pass(); strings.Contains(text, "AGAIN") {
					t.Fatalf("step %d: the pass after this one has more to do:\n%s", step, text)
				}
				w.checkOwners(step)
				w.checkOutsiders(step, was)
				w.checkWaiting(step)
				if !grace { // a new controller knows of nobody who is gone
					w.checkRestart(step, r)
				}
			}
		})
	}
}

func randomCommand(r *rand.Rand) string {
	one := func(of ...string) string { return of[r.IntN(len(of))] }
	name := fmt.Sprintf("shop/s%d", r.IntN(10))
	if r.IntN(8) == 0 {
		return randomOutsider(r, one)
	}
	switch n := r.IntN(20); {
	case n < 2:
		return "delete " + name
	case n < 3:
		return "restart"
	case n < 5:
		pools := []string{"pools"}
		for i := range r.IntN(4) {
			pools = append(pools, fmt.Sprintf("p%d=%s%s", i, one(
				fmt.Sprintf("10.0.%d.0/%d", i, 29+r.IntN(4)),
				fmt.Sprintf("fd00::%d:0/%d", i, 125+r.IntN(4)),
				fmt.Sprintf("10.0.%d.0/%d,fd00::%d:0/%d", i, 30+r.IntN(3), i, 126+r.IntN(3)),
			), one("", "", "", ";manual", ";avoid-buggy", ";priority=1", ";namespace=lab", ";quota=shop=2", ";quota=default=1;priority=2")))
			if last := len(pools) - 1; strings.Contains(pools[last], "=10.") && !strings.Contains(pools[last], "buggy") {
				pools[last] += one("", fmt.Sprintf(";reserve=10.0.%d.0=shop/s3", i))
			}
		}
		return strings.Join(pools, " ")
	case n < 6:
		return "service " + name + " uid=" + one("1", "2") + " ingress= condition=none metallb.io/ip-allocated-from-pool:-"
	}
	args := []string{"service", name}
	for range 1 + r.IntN(4) {
		args = append(args, one(
			"type=LoadBalancer", "type=LoadBalancer", "type=ClusterIP",
			"cluster=4", "cluster=6", "cluster=46", "cluster=46",
			"policy=PreferDualStack", "policy=RequireDualStack", "policy=SingleStack",
			"lbip=", "lbip=", "lbip=10.0.0.1", "lbip=fd00::1", "lbip=junk",
			"metallb.io/address-pool:=p1", "metallb.io/address-pool:-",
			"metallb.io/loadBalancerIPs:=10.0.0.1,fd00::1", "metallb.io/loadBalancerIPs:-", "metallb.io/loadBalancerIPs:-",
			"metallb.io/allow-shared-ip:=k", "metallb.io/allow-shared-ip:=k", "metallb.io/allow-shared-ip:=l", "metallb.io/allow-shared-ip:-",
			"ports=TCP/80", "ports=TCP/81", "ports=TCP/80,UDP/80", "ports=TCP/82,TCP/81",
			"etp=Local", "etp=Cluster", "selector=app=x", "selector=app=y",
			"ingress=", "ingress=10.0.0.2", "ingress=10.0.0.2,fd00::2", "ingress=lb.example.com",
		))
	}
	return strings.Join(args, " ")
}

// randomOutsider changes a Service of another class, or deletes it.
func randomOutsider(r *rand.Rand, one func(of ...string) string) string {
	name := fmt.Sprintf("other/o%d", r.IntN(4))
	if r.IntN(4) == 0 {
		return "delete " + name
	}
	addr := func() string {
		return one(fmt.Sprintf("10.0.%d.%d", r.IntN(4), r.IntN(4)), fmt.Sprintf("fd00::%d:%d", r.IntN(4), r.IntN(4)), "lb.example.com", "203.0.113.1")
	}
	return fmt.Sprintf("service %s class=%s type=%s ingress=%s", name, one("red", "blue"),
		one("LoadBalancer", "LoadBalancer", "LoadBalancer", "ClusterIP"), one("", addr(), addr(), addr()+","+addr()))
}

// addresses returns what the status of a Service shows.
func addresses(svc *cluster.Service) []netip.Addr {
	var out []netip.Addr
	for _, s := range svc.Ingress {
		if addr, err := netip.ParseAddr(s); err == nil && svc.LoadBalancer && svc.Annotations[assign.AnnotationPool] != "" {
			out = append(out, addr)
		}
	}
	return out
}

// checkOwners wants every address to be in a pool, and those who have one
// address to agree to share it.
func (w *world) checkOwners(step int) {
	w.t.Helper()
	owners := make(map[netip.Addr][]*cluster.Service)
	for _, svc := range w.services {
		for _, addr := range addresses(svc) {
			for _, other := range owners[addr] {
				if why := cannotShare(svc, other); why != "" {
					w.t.Fatalf("step %d: %s and %s both have %s: %s", step, svc.Key, other.Key, addr, why)
				}
			}
			owners[addr] = append(owners[addr], svc)
			if !slices.ContainsFunc(w.loaded.Config.Pools, func(p config.Pool) bool {
				return p.Name == svc.Annotations[assign.AnnotationPool] &&
					slices.ContainsFunc(p.Addresses, func(r config.Range) bool { return r.Contains(addr) })
			}) {
				w.t.Fatalf("step %d: %s of %s is not in pool %s", step, addr, svc.Key, svc.Annotations[assign.AnnotationPool])
			}
		}
	}
}

// assigned returns which Services hold which addresses.
func (w *world) assigned() map[netip.Addr][]string {
	out := make(map[netip.Addr][]string)
	for key := range w.allocator.Services() {
		held, _ := w.allocator.Get(key)
		for _, addr := range held.Addrs {
			out[addr] = append(out[addr], key.String())
		}
	}
	return out
}

// checkOutsiders wants no address that a Service of another class has to be given
// to a Service that did not have it before, by its status or by the Allocator,
// and the status of others to be as they wrote it.
func (w *world) checkOutsiders(step int, was map[netip.Addr][]string) {
	w.t.Helper()
	now := w.assigned()
	for _, other := range w.services {
		if other.Class == "" || !other.LoadBalancer {
			continue
		}
		if len(other.Conditions) > 0 {
			w.t.Fatalf("step %d: %s of class %s has the conditions %v", step, other.Key, other.Class, other.Conditions)
		}
		for _, s := range other.Ingress {
			addr, err := netip.ParseAddr(s)
			if err != nil {
				continue
			}
			for _, key := range now[addr] {
				svc := w.services[serviceKey(key)]
				if !slices.Contains(was[addr], key) && !slices.ContainsFunc(w.before[svc.Key], func(s string) bool { return is(addr, s) }) {
					w.t.Fatalf("step %d: %s is given %s, which %s has", step, key, addr, other.Key)
				}
				if c := svc.Conditions; len(c) > 0 && !strings.Contains(c[0].Message, addr.String()+" is in the status of other/") {
					w.t.Fatalf("step %d: %s does not say that %s has %s: %q", step, key, other.Key, addr, c[0].Message)
				}
			}
		}
	}
}

// is reports whether s is addr as somebody writes it.
func is(addr netip.Addr, s string) bool {
	shown, err := netip.ParseAddr(s)
	return err == nil && shown == addr
}

func cannotShare(x, y *cluster.Service) string {
	const sharing = "metallb.io/allow-shared-ip"
	switch {
	case x.Annotations[sharing] == "" || x.Annotations[sharing] != y.Annotations[sharing]:
		return "sharing keys"
	case x.Local != y.Local, x.Local && x.Selector != y.Selector:
		return "backends"
	}
	if _, ok := x.Ports.Common(y.Ports); ok {
		return "ports"
	}
	return ""
}

// checkWaiting wants nobody to wait who asks for nothing special while a pool
// that is open to all has an address.
func (w *world) checkWaiting(step int) {
	w.t.Helper()
	for _, u := range w.allocator.Usage() {
		i := slices.IndexFunc(w.loaded.Config.Pools, func(p config.Pool) bool { return p.Name == u.Pool })
		if p := w.loaded.Config.Pools[i]; !p.AutoAssign || p.Allocation != nil || p.Quota != nil {
			continue
		}
		if u.TotalV4.Int64() == int64(u.InUseV4+u.ReservedV4+u.RetainedV4) {
			continue
		}
		for _, svc := range w.services {
			wishes := svc.LoadBalancerIP + svc.Annotations["metallb.io/loadBalancerIPs"] + svc.Annotations["metallb.io/address-pool"]
			plain := svc.LoadBalancer && len(svc.ClusterIPs) == 1 && svc.ClusterIPs[0].Is4() && svc.FamilyPolicy != cluster.RequireDualStack
			if plain && svc.Class == "" && wishes == "" && len(svc.Ingress) == 0 {
				w.t.Fatalf("step %d: %s waits, and pool %s has IPv4 addresses", step, svc.Key, u.Pool)
			}
		}
	}
}

// checkRestart wants a new controller to leave everything as it is, in
// whatever order it sees the Services.
func (w *world) checkRestart(step int, r *rand.Rand) {
	w.t.Helper()
	s := w.snapshot()
	r.Shuffle(len(s.Services), func(i, j int) { s.Services[i], s.Services[j] = s.Services[j], s.Services[i] })
	a := alloc.New(nil)
	for _, u := range assign.Assign(s, a, w.opts).Updates {
		var out strings.Builder
		writeUpdate(&out, u)
		w.t.Fatalf("step %d: a new controller changes %s, which had %v and %v:\n%s",
			step, u.Service.Key, u.Service.Ingress, u.Service.Conditions, &out)
	}
	if diff := cmp.Diff(holdings(w.allocator), holdings(a)); diff != "" {
		w.t.Fatalf("step %d: a new controller remembers other things (-old +new):\n%s", step, diff)
	}
}

func holdings(a *alloc.Allocator) map[string]string {
	out := make(map[string]string)
	for key := range a.Services() {
		held, _ := a.Get(key)
		out[key.String()] = fmt.Sprint(slices.SortedFunc(slices.Values(held.Addrs), netip.Addr.Compare), held.Pool)
	}
	return out
}

// TestAssignOrder gives new Services in any order and wants the oldest to get
// the first addresses.
func TestAssignOrder(t *testing.T) {
	w := newWorld(t)
	w.command("pools web=192.0.2.0/30")
	for i, name := range []string{"d", "b", "c", "a", "f", "e"} {
		w.command(fmt.Sprintf("service shop/%s age=%d", name, []int{9, 7, 7, 5, 3, 1}[i]))
	}
	want := map[string]string{
		"shop/d": "[192.0.2.0]web", "shop/b": "[192.0.2.1]web", "shop/c": "[192.0.2.2]web", "shop/a": "[192.0.2.3]web",
	}
	for range 20 {
		s := w.snapshot()
		rand.Shuffle(len(s.Services), func(i, j int) { s.Services[i], s.Services[j] = s.Services[j], s.Services[i] })
		a := alloc.New(nil)
		plan := assign.Assign(s, a, assign.Options{})
		if diff := cmp.Diff(want, holdings(a)); diff != "" {
			t.Fatalf("input %v (-want +got):\n%s", keys(s.Services), diff)
		}
		var updated []*cluster.Service
		for _, u := range plan.Updates {
			updated = append(updated, u.Service)
		}
		if diff := cmp.Diff(keys(s.Services), keys(updated)); diff != "" {
			t.Fatalf("updates are not in the order of the snapshot (-want +got):\n%s", diff)
		}
	}
}

func keys(services []*cluster.Service) []string {
	var out []string
	for _, svc := range services {
		out = append(out, svc.Key.String())
	}
	return out
}
