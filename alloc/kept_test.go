// SPDX-License-Identifier: Apache-2.0

package alloc_test

import (
	"math/big"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/config"
)

// reserved returns p with what ParseReservations and ParseQuota make of texts.
func reserved(t *testing.T, p config.Pool, reservations, quota string) config.Pool {
	t.Helper()
	var err error
	if p.Reservations, err = config.ParseReservations(reservations, p); err != nil {
		t.Fatal(err)
	}
	if p.Quota, err = config.ParseQuota(quota); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestReservations(t *testing.T) {
	web := reserved(t, pool(t, "web", "192.0.2.0/30", "2001:db8::/126"),
		"192.0.2.0=a/1,2001:db8::3=a/1,192.0.2.1=a/dns-tcp,192.0.2.1=a/dns-udp", "")
	manual := reserved(t, pool(t, "manual", "198.51.100.0/30"), "198.51.100.2=b/1", "")
	manual.AutoAssign = false
	lab := reserved(t, pool(t, "lab", "203.0.113.0/30"), "203.0.113.1=a/2,203.0.113.3=lab/1", "")
	lab.Allocation = &config.Allocation{Namespaces: []string{"lab"}}
	a := alloc.New([]config.Pool{web, manual, lab})
	share := func(r *alloc.Request) { r.SharingKey = "dns" }
	udp := func(r *alloc.Request) { r.SharingKey, r.Ports = "dns", ports(53) }
	dual := func(r *alloc.Request) { r.Families = alloc.DualStack }

	run(t, a, []step{
		{name: "others skip them", allocate: "a/9", want: "[192.0.2.2] web"},
		{name: "or ask in vain", allocate: "a/8", addrs: "192.0.2.0", want: "AddressReserved: 192.0.2.0 is reserved for a/1"},
		{name: "both of the Service's", allocate: "a/1", with: dual, want: "[192.0.2.0 2001:db8::3] web"},
		{name: "for two", allocate: "a/dns-tcp", with: share, want: "[192.0.2.1] web"},
		{name: "who share it", allocate: "a/dns-udp", with: udp, want: "[192.0.2.1] web"},
		{name: "but not with a third", allocate: "a/dns-sctp", with: share, want: "[192.0.2.3] web"},
		{name: "nor on request", allocate: "a/dns-sctp", addrs: "192.0.2.1", with: share, want: "AddressReserved: 192.0.2.1 is reserved for a/dns-tcp"},
		{name: "of a pool that does not assign by itself", allocate: "b/1", want: "[198.51.100.2] manual"},
		{name: "of a pool that is for others", allocate: "a/2", want: "[192.0.2.3] web"},
		{name: "before a pool that is tried first", allocate: "lab/1", want: "[203.0.113.3] lab"},
		{name: "released", release: "a/1", want: "[192.0.2.0 2001:db8::3] web"},
		{name: "nobody else gets it", allocate: "a/7", want: "PoolExhausted: pool web: 3 of 4 IPv4 in use, 1 reserved"},
		{name: "who has it already, keeps it", claim: "a/8", addrs: "192.0.2.0", want: "[192.0.2.0] web"},
		{name: "and the Service for which it is reserved goes without", allocate: "a/1", want: "PoolExhausted: pool web: 4 of 4 IPv4 in use; of what is reserved for it, 192.0.2.0 is in use by a/8"},
		{name: "given up", release: "a/8", want: "[192.0.2.0] web"},
		{name: "and back", allocate: "a/1", want: "[192.0.2.0] web"},
	})
	u := a.Usage()[0]
	want := alloc.Usage{Pool: "web", TotalV4: big.NewInt(4), TotalV6: big.NewInt(4), InUseV4: 4, ReservedV6: 1, Services: 5}
	if diff := cmp.Diff(want, u, compareInts); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
}

func TestQuota(t *testing.T) {
	web := reserved(t, pool(t, "web", "192.0.2.0/28", "2001:db8::/126"), "192.0.2.9=a/vip", "a=2,b=0,default=1")
	open := pool(t, "open", "198.51.100.0/31")
	a := alloc.New([]config.Pool{web, open})
	share := func(r *alloc.Request) { r.SharingKey = "k" }
	shareOther := func(r *alloc.Request) { r.SharingKey, r.Ports = "k", ports(81) }
	ofWeb := func(r *alloc.Request) { r.Pool = "web" }
	six := func(r *alloc.Request) { r.Families = alloc.IPv6 }
	run(t, a, []step{
		{name: "first", allocate: "a/1", with: share, want: "[192.0.2.0] web"},
		{name: "shared, which costs nothing", allocate: "a/2", with: shareOther, want: "[192.0.2.0] web"},
		{name: "second", allocate: "a/3", want: "[192.0.2.1] web"},
		{name: "third is of another pool", allocate: "a/4", want: "[198.51.100.0] open"},
		{name: "refused", allocate: "a/5", with: ofWeb, want: "QuotaExceeded: pool web: namespace a has 2 of at most 2 IPv4 addresses"},
		{name: "refused on request", allocate: "a/5", addrs: "192.0.2.5", want: "QuotaExceeded: pool web: namespace a has 2 of at most 2 IPv4 addresses"},
		{name: "shared with the second", allocate: "a/5", addrs: "192.0.2.0", with: func(r *alloc.Request) { r.SharingKey, r.Ports = "k", ports(82) }, want: "[192.0.2.0] web"},
		{name: "a family has a quota of its own", allocate: "a/6", with: six, want: "[2001:db8::1] web"},
		{name: "reserved beyond the quota", allocate: "a/vip", want: "[192.0.2.9] web"},
		{name: "the default", allocate: "c/1", with: ofWeb, want: "[192.0.2.2] web"},
		{name: "of each", allocate: "d/1", with: ofWeb, want: "[192.0.2.3] web"},
		{name: "none at all", allocate: "b/1", with: ofWeb, want: "QuotaExceeded: pool web: namespace b has 0 of at most 0 IPv4 addresses"},
		{name: "somebody else's shared address counts", allocate: "b/1", addrs: "192.0.2.0", with: share, want: "QuotaExceeded: pool web: namespace b has 0 of at most 0 IPv4 addresses"},
		{name: "what one has, one keeps", claim: "b/1", addrs: "192.0.2.7", want: "[192.0.2.7] web"},
		{name: "the last of the other pool", allocate: "c/2", want: "[198.51.100.1] open"},
		{name: "both reasons", allocate: "c/3", want: "QuotaExceeded: pool web: namespace c has 1 of at most 1 IPv4 addresses; pool open: 2 of 2 in use"},
		{name: "freed", release: "a/3", want: "[192.0.2.1] web"},
		{name: "and given again", allocate: "a/7", want: "[192.0.2.1] web"},
	})
	want := []alloc.Share{
		{Namespace: "a", InUseV4: 2, InUseV6: 1, Limit: 2}, {Namespace: "b", InUseV4: 1},
		{Namespace: "c", InUseV4: 1, Limit: 1}, {Namespace: "d", InUseV4: 1, Limit: 1},
	}
	if diff := cmp.Diff(want, a.Usage()[0].Shares); diff != "" {
		t.Errorf("shares (-want +got):\n%s", diff)
	}
	web.Quota = nil
	a.SetPools([]config.Pool{web, open})
	if shares := a.Usage()[0].Shares; shares != nil {
		t.Errorf("without a quota there are shares %v", shares)
	}
}

func TestRetire(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	a := alloc.New([]config.Pool{pool(t, "web", "192.0.2.0/30")})
	run(t, a, []step{
		{name: "first", allocate: "a/1", want: "[192.0.2.0] web"},
		{name: "second", allocate: "a/2", want: "[192.0.2.1] web"},
	})
	a.Retire(key("a/1"), start.Add(time.Minute))
	a.Retire(key("a/2"), start.Add(time.Hour))
	a.Retire(key("a/none"), start)
	run(t, a, []step{
		{name: "skips what is held", allocate: "a/3", want: "[192.0.2.2] web"},
		{name: "refused on request", allocate: "a/4", addrs: "192.0.2.0", want: "AddressHeld: 192.0.2.0 is held for a/1 until 2026-01-02T03:05:05Z"},
		{name: "last", allocate: "a/4", want: "[192.0.2.3] web"},
		{name: "none left", allocate: "a/5", want: "PoolExhausted: pool web: 2 of 4 in use, 2 held for Services that are gone, the first until 2026-01-02T03:05:05Z"},
		{name: "back again", allocate: "a/2", want: "[192.0.2.1] web"},
		{name: "one is held", allocate: "a/5", want: "PoolExhausted: pool web: 3 of 4 in use, 1 held for a/1 until 2026-01-02T03:05:05Z"},
	})
	if u := a.Usage()[0]; u.RetainedV4 != 1 {
		t.Errorf("usage is %+v, want one address that is retained", u)
	}
	if next := a.Expire(start.Add(59 * time.Second)); !next.Equal(start.Add(time.Minute)) {
		t.Errorf("next is %v", next)
	}
	run(t, a, []step{{name: "not yet", allocate: "a/5", want: "PoolExhausted: pool web: 3 of 4 in use, 1 held for a/1 until 2026-01-02T03:05:05Z"}})
	if next := a.Expire(start.Add(time.Minute)); !next.IsZero() {
		t.Errorf("next is %v, want none", next)
	}
	run(t, a, []step{
		{name: "over", allocate: "a/5", want: "[192.0.2.0] web"},
		{name: "too late", allocate: "a/1", want: "PoolExhausted: pool web: 4 of 4 in use"},
	})
}
