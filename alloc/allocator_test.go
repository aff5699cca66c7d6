// SPDX-License-Identifier: Apache-2.0

package alloc_test

import (
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/config"
)

// A step does one thing to an Allocator. The first of allocate, claim and
// release that is set counts.
type step struct {
	name     string
	allocate string // a Service
	claim    string // a Service, of addrs
	release  string // a Service
	addrs    string // for allocate: explicit ones
	with     func(*alloc.Request)
	want     string // addresses and pool, or the refusal's reason and text
}

func run(t *testing.T, a *alloc.Allocator, steps []step) {
	t.Helper()
	for _, s := range steps {
		var got alloc.Assignment
		var err error
		switch {
		case s.allocate != "":
			req := request(s.allocate)
			req.Addrs = addrs(s.addrs)
			if s.with != nil {
				s.with(&req)
			}
			got, err = a.Allocate(req)
		case s.claim != "":
			req := request(s.claim)
			if s.with != nil {
				s.with(&req)
			}
			got, err = a.Claim(req, addrs(s.addrs))
		default:
			got = a.Release(key(s.release))
		}
		text := fmt.Sprint(got.Addrs, " ", got.Pool)
		var r *alloc.Refusal
		if errors.As(err, &r) {
			text = fmt.Sprintf("%s: %s", r.Reason, r)
		}
		if text != s.want {
			t.Errorf("%s: got %q, want %q", s.name, text, s.want)
		}
	}
}

func TestLowestFreeFirst(t *testing.T) {
	a := alloc.New([]config.Pool{pool(t, "web", "192.0.2.8-192.0.2.10", "192.0.2.0/32")})
	run(t, a, []step{
		{name: "first", allocate: "a/1", want: "[192.0.2.8] web"},
		{name: "claimed ahead", claim: "a/2", addrs: "192.0.2.9", want: "[192.0.2.9] web"},
		{name: "skips it", allocate: "a/3", want: "[192.0.2.10] web"},
		{name: "next range, though lower", allocate: "a/4", want: "[192.0.2.0] web"},
		{name: "none left", allocate: "a/5", want: "PoolExhausted: pool web: 4 of 4 in use"},
		{name: "frees", release: "a/4", want: "[192.0.2.0] web"},
		{name: "frees a lower one", release: "a/2", want: "[192.0.2.9] web"},
		{name: "nothing to free", release: "a/2", want: "[] "},
		{name: "earlier range first", allocate: "a/5", want: "[192.0.2.9] web"},
		{name: "then the other", allocate: "a/6", want: "[192.0.2.0] web"},
		{name: "again is in place of the first", allocate: "a/6", want: "[192.0.2.0] web"},
	})
}

// The subnet-router anycast address comes last. It can be requested, and a Service that
// has it keeps it.
func TestSubnetRouterAnycastLast(t *testing.T) {
	six := func(r *alloc.Request) { r.Families = alloc.IPv6 }
	a := alloc.New([]config.Pool{pool(t, "web", "fd00:1::/127", "fd00:2::1-fd00:2::1", "fd00:3::/128")})
	run(t, a, []step{
		{name: "skips it", allocate: "a/1", with: six, want: "[fd00:1::1] web"},
		{name: "the next range", allocate: "a/2", with: six, want: "[fd00:2::1] web"},
		{name: "a range of nothing else", allocate: "a/3", with: six, want: "[fd00:3::] web"},
		{name: "at last", allocate: "a/4", with: six, want: "[fd00:1::] web"},
		{name: "none left", allocate: "a/5", with: six, want: "PoolExhausted: pool web: 4 of 4 in use"},
		{name: "frees it", release: "a/4", want: "[fd00:1::] web"},
		{name: "frees another", release: "a/2", want: "[fd00:2::1] web"},
		{name: "the other first", allocate: "a/5", with: six, want: "[fd00:2::1] web"},
		{name: "on request", allocate: "a/6", addrs: "fd00:1::", with: six, want: "[fd00:1::] web"},
		{name: "stays", claim: "a/6", addrs: "fd00:1::", with: six, want: "[fd00:1::] web"},
	})
}

func TestAllocateRules(t *testing.T) {
	web := pool(t, "web", "192.0.2.0/24", "198.51.100.0-198.51.100.2")
	web.AvoidBuggyIPs = true
	manual := pool(t, "manual", "203.0.113.0/24")
	manual.AutoAssign = false
	pinned := pool(t, "pinned", "198.18.0.0/32")
	pinned.Allocation = &config.Allocation{Namespaces: []string{"lab"}}
	nobody := pool(t, "nobody", "198.19.0.0/32")
	nobody.Allocation = &config.Allocation{NamespaceSelectors: []config.Selector{selector(t, "team", "none")}}
	six := pool(t, "six", "2001:db8::/64")
	a := alloc.New([]config.Pool{web, manual, pinned, nobody, six})

	ofPool := func(name string) func(*alloc.Request) {
		return func(r *alloc.Request) { r.Pool = name }
	}
	of := func(f alloc.Families) func(*alloc.Request) {
		return func(r *alloc.Request) { r.Families = f }
	}
	run(t, a, []step{
		{name: "skips .0", allocate: "a/1", want: "[192.0.2.1] web"},
		{name: "excluded", allocate: "a/2", addrs: "192.0.2.255", want: "AddressExcluded: address 192.0.2.255 is excluded by avoid-buggy-ips of pool web"},
		{name: "in use", allocate: "a/2", addrs: "192.0.2.1", want: "AddressInUse: 192.0.2.1 is in use by a/1"},
		{name: "in no pool", allocate: "a/2", addrs: "10.0.0.1", want: "AddressNotInPool: 10.0.0.1 is in no pool"},
		{name: "just before a pool", allocate: "a/2", addrs: "192.0.1.255", want: "AddressNotInPool: 192.0.1.255 is in no pool"},
		{name: "just after a pool", allocate: "a/2", addrs: "192.0.3.0", want: "AddressNotInPool: 192.0.3.0 is in no pool"},
		{name: "not in the pool", allocate: "a/2", addrs: "192.0.2.2", with: ofPool("manual"), want: "AddressNotInPool: 192.0.2.2 is in pool web, not in the requested pool manual"},
		{name: "unknown pool", allocate: "a/2", with: ofPool("nil"), want: "PoolUnknown: there is no pool nil"},
		{name: "address of an unknown pool", allocate: "a/2", addrs: "192.0.2.2", with: ofPool("nil"), want: "PoolUnknown: there is no pool nil"},
		{name: "pool that does not assign by itself", allocate: "a/2", with: ofPool("manual"), want: "[203.0.113.0] manual"},
		{name: "pinned first", allocate: "lab/1", want: "[198.18.0.0] pinned"},
		{name: "then open", allocate: "lab/2", want: "[192.0.2.2] web"},
		{name: "pinned to others", allocate: "a/3", with: ofPool("pinned"), want: "PoolNotAllowed: pool pinned is not for Service a/3"},
		{name: "address pinned to others", allocate: "a/3", addrs: "198.18.0.0", want: "PoolNotAllowed: pool pinned is not for Service a/3"},
		{name: "selectors that match nothing are no freedom", allocate: "a/3", addrs: "198.19.0.0", want: "PoolNotAllowed: pool nobody is not for Service a/3"},
		{name: "pinned and full", allocate: "lab/3", with: ofPool("pinned"), want: "PoolExhausted: pool pinned: 1 of 1 in use"},
		{name: "IPv6", allocate: "a/3", with: of(alloc.IPv6), want: "[2001:db8::1] six"},
		{name: "no pool has both", allocate: "a/4", with: of(alloc.DualStack), want: "FamilyUnavailable: pool web has no IPv6 addresses; pool six has no IPv4 addresses"},
		{name: "prefers both, IPv6 first", allocate: "a/4", with: of(alloc.PreferIPv6), want: "[2001:db8::2] six"},
		{name: "prefers both, IPv4 first", allocate: "a/5", with: of(alloc.PreferIPv4), want: "[192.0.2.3] web"},
		{name: "of two pools", allocate: "a/6", addrs: "192.0.2.9 2001:db8::9", with: of(alloc.DualStack), want: "AddressNotInPool: 192.0.2.9, 2001:db8::9 are of two pools, web and six"},
		{name: "two of a family", claim: "a/6", addrs: "192.0.2.9 192.0.2.10", want: "Superseded: 192.0.2.9, 192.0.2.10 is more than one address of a family"},
		{name: "of another family", claim: "a/6", addrs: "2001:db8::9", want: "Superseded: the Service asks for other families than those of 2001:db8::9"},
		{name: "only what is wanted", claim: "a/6", addrs: "192.0.2.9 2001:db8::9", want: "[192.0.2.9] web"},
	})
}

// TestSharing is the table of who can share an address with whom: policy
// Cluster, Local with one of two selectors, Local with an empty one.
func TestSharing(t *testing.T) {
	kinds := []struct {
		name    string
		backend alloc.Backend
	}{
		{"Cluster", alloc.Backend{}},
		{"Local S", alloc.Backend{Local: true, Selector: "app=s"}},
		{"Local T", alloc.Backend{Local: true, Selector: "app=t"}},
		{"Local without selector", alloc.Backend{Local: true}},
	}
	for _, x := range kinds {
		for _, y := range kinds {
			t.Run(x.name+" and "+y.name, func(t *testing.T) {
				a := alloc.New([]config.Pool{pool(t, "web", "192.0.2.0/30")})
				first, second := request("a/x"), request("a/y")
				first.SharingKey, first.Backend, first.Ports = "k", x.backend, ports(80)
				second.SharingKey, second.Backend, second.Ports = "k", y.backend, ports(81)
				want := "192.0.2.1"
				if x == y {
					want = "192.0.2.0"
				}
				if _, err := a.Allocate(first); err != nil {
					t.Fatal(err)
				}
				got, err := a.Allocate(second)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(addrs(want), got.Addrs, compareAddrs); diff != "" {
					t.Errorf("second address (-want +got):\n%s", diff)
				}
				second.Addrs = addrs("192.0.2.0")
				if _, err := a.Allocate(second); (err == nil) != (x == y) {
					t.Errorf("explicit address: %v", err)
				}
			})
		}
	}
}

func TestSharingRefused(t *testing.T) {
	sharing := func(k string, p ...uint16) func(*alloc.Request) {
		return func(r *alloc.Request) { r.SharingKey, r.Ports = k, ports(p...) }
	}
	a := alloc.New([]config.Pool{pool(t, "web", "192.0.2.7/32")})
	run(t, a, []step{
		{name: "first", allocate: "shop/web", with: sharing("k", 80, 443), want: "[192.0.2.7] web"},
		{name: "no key", allocate: "shop/x", addrs: "192.0.2.7", want: "AddressInUse: 192.0.2.7 is in use by shop/web"},
		{name: "other key", allocate: "shop/x", addrs: "192.0.2.7", with: sharing("l", 81), want: `SharingConflict: 192.0.2.7 is in use by shop/web with sharing key "k", not "l"`},
		{name: "same port", allocate: "shop/x", addrs: "192.0.2.7", with: sharing("k", 81, 80), want: "PortInUse: port TCP/80 is already in use on 192.0.2.7 by shop/web"},
		{name: "same port, any address", allocate: "shop/x", with: sharing("k", 80), want: "PoolExhausted: pool web: 1 of 1 in use"},
		{name: "another namespace", allocate: "lab/x", with: sharing("k", 81), want: "[192.0.2.7] web"},
		{name: "the first leaves", release: "shop/web", want: "[192.0.2.7] web"},
		{name: "its port is free", allocate: "shop/y", with: sharing("k", 80), want: "[192.0.2.7] web"},
	})
}

// TestHugePools wants exact numbers of pools that no counter can hold, and
// allocation from them at once.
func TestHugePools(t *testing.T) {
	all := pool(t, "all", "0.0.0.0/0", "::/0")
	all.AvoidBuggyIPs = true
	some := pool(t, "some", "fd00::/64", "fd01::-fd01::2", "10.0.0.254-10.0.2.1")
	for _, tt := range []struct {
		pool           config.Pool
		avoid          bool
		total4, total6 string
		first          string
	}{
		{all, true, "4261412864", "340282366920938463463374607431768211456", "0.0.0.1 ::1"},
		{some, false, "260", "18446744073709551619", "10.0.0.254 fd00::1"},
		{some, true, "256", "18446744073709551619", "10.0.0.254 fd00::1"},
	} {
		p := tt.pool
		p.AvoidBuggyIPs = tt.avoid
		a := alloc.New([]config.Pool{p})
		req := request("a/x")
		req.Families = alloc.DualStack
		got, err := a.Allocate(req)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(alloc.Assignment{Addrs: addrs(tt.first), Pool: p.Name}, got, compareAddrs); diff != "" {
			t.Errorf("pool %s (-want +got):\n%s", p.Name, diff)
		}
		four, _ := new(big.Int).SetString(tt.total4, 10)
		six, _ := new(big.Int).SetString(tt.total6, 10)
		want := []alloc.Usage{{Pool: p.Name, TotalV4: four, TotalV6: six, InUseV4: 1, InUseV6: 1, Services: 1}}
		if diff := cmp.Diff(want, a.Usage(), compareInts); diff != "" {
			t.Errorf("usage of pool %s, avoiding buggy %t (-want +got):\n%s", p.Name, tt.avoid, diff)
		}
	}
}

// TestEndOfAddresses allocates the last addresses there are.
func TestEndOfAddresses(t *testing.T) {
	a := alloc.New([]config.Pool{pool(t, "end", "255.255.255.254/31", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127")})
	both := func(r *alloc.Request) { r.Families = alloc.DualStack }
	run(t, a, []step{
		{name: "last but one", allocate: "a/1", with: both, want: "[255.255.255.254 ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe] end"},
		{name: "last", allocate: "a/2", with: both, want: "[255.255.255.255 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff] end"},
		{name: "none", allocate: "a/3", with: both, want: "PoolExhausted: pool end: 2 of 2 IPv4 in use, pool end: 2 of 2 IPv6 in use"},
	})
}

func TestPriorities(t *testing.T) {
	var pools []config.Pool
	for i, priority := range []int{0, 20, -5, 10, 10, 0} {
		p := pool(t, fmt.Sprintf("p%d", i), fmt.Sprintf("10.0.0.%d/32", i))
		p.Allocation = &config.Allocation{Priority: priority}
		pools = append(pools, p)
	}
	pools = append([]config.Pool{pool(t, "open", "10.0.1.0/32")}, pools...)
	a := alloc.New(pools)
	var got []string
	for i := range pools {
		held, err := a.Allocate(request(fmt.Sprintf("a/%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, held.Pool)
	}
	want := []string{"p2", "p3", "p4", "p1", "p0", "p5", "open"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order of pools (-want +got):\n%s", diff)
	}
}

// TestSetPools moves ranges from one pool to another.
func TestSetPools(t *testing.T) {
	a := alloc.New([]config.Pool{pool(t, "web", "192.0.2.0/31", "198.51.100.0/31")})
	reqs := []alloc.Request{request("a/0"), request("a/1"), request("a/2")}
	for _, req := range reqs {
		if _, err := a.Allocate(req); err != nil {
			t.Fatal(err)
		}
	}
	a.SetPools([]config.Pool{pool(t, "lan", "198.51.100.0/31"), pool(t, "front", "192.0.2.1/32")})
	for i, want := range []string{"AddressNotInPool", "[192.0.2.1] front", "[198.51.100.0] lan"} {
		held, err := a.Keep(reqs[i])
		got := fmt.Sprint(held.Addrs, " ", held.Pool)
		var r *alloc.Refusal
		if errors.As(err, &r) {
			got = string(r.Reason)
		}
		if got != want {
			t.Errorf("Service %s keeps %q, want %q", reqs[i].Service, got, want)
		}
	}
	if held, ok := a.Get(key("a/0")); !ok || held.Pool != "" {
		t.Errorf("a/0 holds %v, want its address and no pool", held)
	}
	a.SetPools([]config.Pool{pool(t, "again", "192.0.2.0/30")})
	if held, err := a.Keep(reqs[0]); err != nil || held.Pool != "again" {
		t.Errorf("a/0 keeps %v, %v; want its address from pool again", held, err)
	}
}

// TestReplaced wants a Service of the same name not to inherit.
func TestReplaced(t *testing.T) {
	a := alloc.New([]config.Pool{pool(t, "web", "192.0.2.0/31")})
	req := request("a/x")
	req.UID = "1"
	if _, err := a.Allocate(req); err != nil {
		t.Fatal(err)
	}
	req.UID = "2"
	var r *alloc.Refusal
	if _, err := a.Keep(req); !errors.As(err, &r) || r.Reason != alloc.Replaced {
		t.Errorf("the second Service of the name: %v, want %s", err, alloc.Replaced)
	}
}

// TestExplicitFromTheTop claims every other address of a large pool from the
// top down and then fills it: what is skipped is skipped once.
func TestExplicitFromTheTop(t *testing.T) {
	const n = 1 << 14
	a := alloc.New([]config.Pool{pool(t, "web", "10.0.0.0/17")}) // 2n addresses
	top := netip.MustParseAddr("10.0.127.255")
	for i := range n {
		if _, err := a.Claim(request(fmt.Sprintf("top/%d", i)), []netip.Addr{top}); err != nil {
			t.Fatal(err)
		}
		top = top.Prev().Prev()
	}
	free := netip.MustParseAddr("10.0.0.0")
	for i := range n {
		held, err := a.Allocate(request(fmt.Sprintf("new/%d", i)))
		if err != nil || held.Addrs[0] != free {
			t.Fatalf("allocation %d: %v, %v; want %s", i, held, err, free)
		}
		free = free.Next().Next()
	}
	_, err := a.Allocate(request("new/more"))
	if want := fmt.Sprintf("pool web: %d of %d in use", 2*n, 2*n); err == nil || err.Error() != want {
		t.Errorf("one more: %v, want %q", err, want)
	}
}
