// SPDX-License-Identifier: Apache-2.0

package alloc_test

import (
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/port"
)

// TestAgainstModel does random things to an Allocator and to a model of it,
// and wants the same of both after every step.
func TestAgainstModel(t *testing.T) {
	for range 4 {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed=%#x", seed), func(t *testing.T) { againstModel(t, seed, 2500) })
	}
}

func FuzzAgainstModel(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { againstModel(t, seed, 300) })
}

func againstModel(t *testing.T, seed uint64, steps int) {
	g := generator{t, rand.New(rand.NewPCG(seed, 0))}
	pools := g.pools()
	a, m := alloc.New(pools), &model{pools: pools, held: make(map[alloc.Key]alloc.Request), retained: make(map[alloc.Key]retained)}
	now := time.Unix(0, 0)
	for step := range steps {
		req := g.request()
		var op string
		var got alloc.Assignment
		var err error
		var want outcome
		switch n := g.r.IntN(100); {
		case n < 35:
			op = "allocate"
			got, err = a.Allocate(req)
			want = m.allocate(req)
		case n < 50:
			op = "claim"
			addrs := g.addrs()
			got, err = a.Claim(req, addrs)
			want = m.claim(req, addrs)
		case n < 70:
			op = "keep"
			got, err = a.Keep(req)
			want = m.keep(req)
		case n < 80:
			op = "extend"
			var addr netip.Addr
			if addr, err = a.Extend(req); err == nil {
				got.Addrs = []netip.Addr{addr}
			}
			want = m.extend(req)
		case n < 86:
			op = "retire"
			until := now.Add(time.Duration(1+g.r.IntN(20)) * time.Second)
			a.Retire(req.Service, until)
			m.retire(req.Service, until)
		case n < 90:
			op = "expire"
			now = now.Add(time.Duration(g.r.IntN(5)) * time.Second)
			if got, want := a.Expire(now), m.expire(now); !got.Equal(want) {
				t.Fatalf("step %d: expire at %v: next is %v, want %v", step, now, got, want)
			}
		case n < 94:
			op = "outsiders"
			m.outside = g.outsiders()
			a.Outsiders(slices.Values(m.outside))
		case n < 98:
			op = "release"
			a.Release(req.Service)
			delete(m.held, req.Service)
		default:
			op = "set pools"
			m.pools = g.pools()
			a.SetPools(m.pools)
		}
		name := fmt.Sprintf("step %d: %s %+v", step, op, req)
		var r *alloc.Refusal
		if errors.As(err, &r); (r == nil) != (want.Reason == "") {
			t.Fatalf("%s: got %v, %v; want %+v", name, got, err, want)
		}
		if r != nil && r.Reason != want.Reason && !conflicting(r.Reason, want.Reason) {
			t.Fatalf("%s: refused because %s (%s), want %s", name, r.Reason, r, want.Reason)
		}
		if r != nil && r.Detail == "" {
			t.Fatalf("%s: refused because %s without a detail", name, r.Reason)
		}
		if diff := cmp.Diff(want, outcome{got.Addrs, got.Pool, want.Reason}, compareAddrs, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(m.usage(), a.Usage(), compareInts); diff != "" {
			t.Fatalf("%s: usage (-want +got):\n%s", name, diff)
		}
		for _, addr := range g.addrs() {
			if _, got := a.Clash(addr); got != m.clash(addr) {
				t.Fatalf("%s: an outsider and another have %s: %t, want %t", name, addr, got, !got)
			}
		}
		if a.Len() != len(m.held) {
			t.Fatalf("%s: %d Services hold addresses, want %d", name, a.Len(), len(m.held))
		}
		for service := range m.held {
			got, _ := a.Get(service)
			if diff := cmp.Diff(m.get(service), got, compareAddrs); diff != "" {
				t.Fatalf("%s: what %s holds (-want +got):\n%s", name, service, diff)
			}
		}
	}
}

var (
	compareAddrs = cmp.Comparer(func(x, y netip.Addr) bool { return x == y })
	compareInts  = cmp.Comparer(func(x, y *big.Int) bool { return x.Cmp(y) == 0 })
)

// conflicting reports whether both are reasons why an address cannot be shared. An
// Allocator may return any of several.
func conflicting(x, y alloc.Reason) bool {
	in := map[alloc.Reason]bool{alloc.AddressInUse: true, alloc.SharingConflict: true, alloc.PortInUse: true}
	return in[x] && in[y]
}

// A generator makes random things of a world that is small enough for them to
// meet.
type generator struct {
	t *testing.T
	r *rand.Rand
}

func pickOne[T any](g generator, of ...T) T { return of[g.r.IntN(len(of))] }

// outsiders returns some, of which some have the names of Services that hold
// addresses.
func (g generator) outsiders() (out []alloc.Outsider) {
	for i := range g.r.IntN(5) {
		service := alloc.Key{Namespace: pickOne(g, "a", "b"), Name: fmt.Sprint(i)}
		addrs := append(g.addrs(), g.addrs()...)
		slices.SortFunc(addrs, netip.Addr.Compare)
		out = append(out, alloc.Outsider{Service: service, Whose: pickOne(g, "of class red", "of class blue"), Addrs: slices.Compact(addrs)})
	}
	return out
}

// addr returns one of 40 addresses of a family.
func (g generator) addr(is4 bool) netip.Addr {
	if is4 {
		return nth(netip.MustParseAddr("10.0.0.240"), g.r.IntN(40))
	}
	return nth(netip.MustParseAddr("fd00::"), g.r.IntN(40))
}

func nth(addr netip.Addr, n int) netip.Addr {
	for range n {
		addr = addr.Next()
	}
	return addr
}

func (g generator) addrs() []netip.Addr {
	switch g.r.IntN(4) {
	case 0:
		return []netip.Addr{g.addr(true)}
	case 1:
		return []netip.Addr{g.addr(false)}
	case 2:
		return []netip.Addr{g.addr(false), g.addr(true)}
	}
	return []netip.Addr{g.addr(true), g.addr(false)}
}

func (g generator) request() alloc.Request {
	req := alloc.Request{
		Service:         alloc.Key{Namespace: pickOne(g, "a", "b", "c"), Name: fmt.Sprint(g.r.IntN(10))},
		Labels:          map[string]string{"app": pickOne(g, "x", "y")},
		NamespaceLabels: map[string]string{"team": pickOne(g, "x", "y")},
		Families:        pickOne(g, alloc.IPv4, alloc.IPv6, alloc.DualStack, alloc.PreferIPv4, alloc.PreferIPv6),
		SharingKey:      pickOne(g, "", "", "k", "l"),
		Backend:         pickOne(g, alloc.Backend{}, alloc.Backend{}, alloc.Backend{Local: true}, alloc.Backend{Local: true, Selector: "app=x"}),
	}
	var ports []port.Port
	for range 1 + g.r.IntN(2) {
		ports = append(ports, port.Port{Protocol: pickOne(g, "TCP", "UDP"), Number: uint16(80 + g.r.IntN(3))})
	}
	req.Ports = port.NewSet(ports...)
	if g.r.IntN(5) == 0 {
		req.Pool = pickOne(g, "p0", "p1", "p2", "p3")
	}
	if g.r.IntN(5) == 0 {
		switch req.Families {
		case alloc.IPv4:
			req.Addrs = []netip.Addr{g.addr(true)}
		case alloc.IPv6:
			req.Addrs = []netip.Addr{g.addr(false)}
		default:
			req.Addrs = []netip.Addr{g.addr(false), g.addr(true)}
		}
	}
	return req
}

// pools cuts both families into ranges and deals them out to pools.
func (g generator) pools() []config.Pool {
	pools := make([]config.Pool, 4)
	for i := range pools {
		p := &pools[i]
		p.Name = fmt.Sprintf("p%d", i)
		p.AutoAssign = g.r.IntN(5) > 0
		p.AvoidBuggyIPs = g.r.IntN(2) == 0
		if g.r.IntN(3) == 0 {
			p.Quota = &config.Quota{Namespaces: map[string]int{pickOne(g, "a", "b"): g.r.IntN(4)}}
			if g.r.IntN(2) == 0 {
				p.Quota.Default = new(g.r.IntN(4))
			}
		}
		if g.r.IntN(2) == 0 {
			continue
		}
		p.Allocation = &config.Allocation{Priority: pickOne(g, 0, 0, -1, 1, 2)}
		if g.r.IntN(3) == 0 {
			p.Allocation.Namespaces = []string{pickOne(g, "a", "b")}
		}
		if g.r.IntN(3) == 0 {
			p.Allocation.NamespaceSelectors = []config.Selector{selector(g.t, "team", pickOne(g, "x", "z"))}
		}
		if g.r.IntN(3) == 0 {
			p.Allocation.ServiceSelectors = []config.Selector{selector(g.t, "app", pickOne(g, "x", "y"))}
		}
	}
	for _, base := range []string{"10.0.0.240", "fd00::"} {
		for from := 0; from < 40; {
			to := min(from+g.r.IntN(6), 39)
			if i := g.r.IntN(len(pools) + 1); i < len(pools) {
				first := netip.MustParseAddr(base)
				pools[i].Addresses = append(pools[i].Addresses, config.Range{First: nth(first, from), Last: nth(first, to)})
			}
			from = to + 1
		}
	}
	g.reserve(pools)
	for i := range pools { // ranges need not be in the order of their addresses
		g.r.Shuffle(len(pools[i].Addresses), func(x, y int) {
			r := pools[i].Addresses
			r[x], r[y] = r[y], r[x]
		})
	}
	if g.r.IntN(20) == 0 {
		return pools[:0:0]
	}
	return pools
}

// reserve reserves some addresses of pools.
func (g generator) reserve(pools []config.Pool) {
	for range g.r.IntN(8) {
		r := config.Reservation{Addr: g.addr(g.r.IntN(2) == 0), Namespace: pickOne(g, "a", "b", "c"), Service: fmt.Sprint(g.r.IntN(10))}
		for i, p := range pools {
			in := slices.ContainsFunc(p.Addresses, func(rng config.Range) bool { return rng.Contains(r.Addr) })
			if in && !excluded(p, r.Addr) && !slices.ContainsFunc(p.Reservations, func(o config.Reservation) bool {
				return o.Namespace == r.Namespace && o.Service == r.Service && o.Addr.Is4() == r.Addr.Is4()
			}) {
				pools[i].Reservations = append(p.Reservations, r)
			}
		}
	}
}
