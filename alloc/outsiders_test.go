// SPDX-License-Identifier: Apache-2.0

package alloc_test

import (
	"slices"
	"testing"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/config"
)

// TestOutsiders has Services of another load balancer come, meet Herald's, and go.
func TestOutsiders(t *testing.T) {
	a := alloc.New([]config.Pool{pool(t, "web", "192.0.2.0/30")})
	outside := func(text ...string) {
		var all []alloc.Outsider
		for i := 0; i < len(text); i += 2 {
			all = append(all, alloc.Outsider{Service: key(text[i]), Whose: "of class red", Addrs: addrs(text[i+1])})
		}
		a.Outsiders(slices.Values(all))
	}
	allocate := func(service, want string) {
		t.Helper()
		held, err := a.Allocate(request(service))
		if got := show(held, err); got != want {
			t.Errorf("%s gets %s, want %s", service, got, want)
		}
	}
	byName := func(service, addr, want string) {
		t.Helper()
		req := request(service)
		req.Addrs, req.SharingKey = addrs(addr), "k"
		held, err := a.Allocate(req)
		if got := show(held, err); got != want {
			t.Errorf("%s gets %s, want %s", service, got, want)
		}
	}

	outside("red/x", "192.0.2.0", "red/y", "192.0.2.2 203.0.113.1")
	allocate("shop/a", "[192.0.2.1] of web")
	allocate("shop/b", "[192.0.2.3] of web")
	allocate("shop/c", "pool web: 4 of 4 in use, 2 of them by other load balancers")
	byName("shop/c", "192.0.2.2", "192.0.2.2 is in use by red/y, a Service of class red")
	if u := a.Usage()[0]; u.InUseV4 != 4 || u.Services != 2 {
		t.Errorf("%d addresses in use by %d Services, want 4 by 2", u.InUseV4, u.Services)
	}

	// It takes an address that a Service of Herald has, which keeps it.
	outside("red/x", "192.0.2.1")
	if held, err := a.Keep(request("shop/a")); err != nil || len(held.Addrs) != 1 {
		t.Errorf("shop/a keeps %v, %v", held, err)
	}
	if o, ok := a.Clash(addrs("192.0.2.1")[0]); !ok || o.Service != key("red/x") || o.Whose != "of class red" {
		t.Errorf("the outsider that has 192.0.2.1 is %v, %t", o, ok)
	}
	allocate("shop/c", "[192.0.2.0] of web")

	// What Herald's Service leaves is free once the outsider leaves it, too.
	a.Release(key("shop/a"))
	allocate("shop/d", "[192.0.2.2] of web")
	allocate("shop/e", "pool web: 4 of 4 in use, 1 of them by other load balancers")
	outside()
	allocate("shop/e", "[192.0.2.1] of web")
	if _, ok := a.Clash(addrs("192.0.2.1")[0]); ok {
		t.Error("an outsider has 192.0.2.1, though there is none")
	}

	// A pool that comes to contain what an outsider has.
	outside("red/y", "198.51.100.0")
	a.SetPools([]config.Pool{pool(t, "more", "198.51.100.0/31")})
	allocate("shop/f", "[198.51.100.1] of more")
}

func show(held alloc.Assignment, err error) string {
	if err != nil {
		return err.Error()
	}
	return "[" + held.Addrs[0].String() + "] of " + held.Pool
}
