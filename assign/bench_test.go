// SPDX-License-Identifier: Apache-2.0

package assign_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/heraldlb/herald/alloc"
	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/cluster/clustertest"
	"github.com/heraldlb/herald/config"
)

// BenchmarkAssign measures a pass over that many Services that hold their
// addresses: one op is one pass. In idle nothing is to be done; in one more, a
// Service is new in each pass and gone in the next; in waiting, the pool is
// too small for half of them; in held, half of them were deleted, and as many
// others wait for the addresses that are held; in beside, half of them are
// another load balancer's.
func BenchmarkAssign(b *testing.B) {
	const n = 10000
	b.Run("10000/idle", func(b *testing.B) {
		s, a := settled(b, n, "10.0.0.0/12")
		b.ReportAllocs()
		for b.Loop() {
			if p := assign.Assign(s, a, assign.Options{}); len(p.Updates) > 0 {
				b.Fatalf("%d updates", len(p.Updates))
			}
		}
	})
	b.Run("10000/one more", func(b *testing.B) {
		s, a := settled(b, n, "10.0.0.0/12")
		more := s
		more.Services = append(slices.Clip(s.Services), clustertest.Service("shop", "zzz"))
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			want, now := 1, more
			if i%2 == 1 {
				want, now = 0, s
			}
			if p := assign.Assign(now, a, assign.Options{}); len(p.Updates) != want {
				b.Fatalf("%d updates, want %d", len(p.Updates), want)
			}
		}
	})
	b.Run("10000/waiting", func(b *testing.B) {
		s, a := settled(b, n, "10.0.0.0-10.0.19.135")
		b.ReportAllocs()
		for b.Loop() {
			if p := assign.Assign(s, a, assign.Options{}); len(p.Updates) > 0 {
				b.Fatalf("%d updates", len(p.Updates))
			}
		}
	})
	b.Run("10000/held", func(b *testing.B) {
		s, a := settled(b, n, "10.0.0.0-10.0.39.15")
		opts := assign.Options{Grace: time.Minute}
		s.Services = slices.Clone(s.Services[:n/2])
		for i := range n / 2 {
			s.Services = append(s.Services, clustertest.Service("waiting", fmt.Sprintf("web-%05d", i)))
		}
		for i, u := range assign.Assign(s, a, opts).Updates {
			s.Services[n/2+i] = written(u)
		}
		b.ReportAllocs()
		for b.Loop() {
			if p := assign.Assign(s, a, opts); len(p.Updates) > 0 || p.Pools[0].RetainedV4 != n/2 {
				b.Fatalf("%d updates, %+v", len(p.Updates), p.Pools[0])
			}
		}
	})
	b.Run("10000/beside", func(b *testing.B) {
		s, _ := settled(b, n, "10.0.0.0/12")
		for i := range n / 2 {
			other := *s.Services[2*i]
			other.Class, other.Conditions = "example.com/other", nil
			s.Services[2*i] = &other
		}
		a := alloc.New(nil)
		if p := assign.Assign(s, a, assign.Options{}); p.Pools[0].InUseV4 != n || p.Pools[0].Services != n/2 {
			b.Fatalf("the pool is %+v", p.Pools[0])
		}
		b.ReportAllocs()
		for b.Loop() {
			if p := assign.Assign(s, a, assign.Options{}); len(p.Updates) > 0 {
				b.Fatalf("%d updates", len(p.Updates))
			}
		}
	})
	b.Run("10000/restart", func(b *testing.B) {
		s, _ := settled(b, n, "10.0.0.0/12")
		b.ReportAllocs()
		for b.Loop() {
			if p := assign.Assign(s, alloc.New(nil), assign.Options{}); len(p.Updates) > 0 {
				b.Fatalf("%d updates", len(p.Updates))
			}
		}
	})
}

// settled returns n Services that have what there is in a pool of one range.
func settled(tb testing.TB, n int, addresses string) (cluster.Snapshot, *alloc.Allocator) {
	tb.Helper()
	r, err := config.ParseRange(addresses)
	if err != nil {
		tb.Fatal(err)
	}
	s := cluster.Snapshot{Config: &config.Config{
		Pools: []config.Pool{{Name: "big", AutoAssign: true, Addresses: []config.Range{r}}},
	}}
	for i := range n {
		s.Services = append(s.Services, clustertest.Service("shop", fmt.Sprintf("web-%05d", i)))
	}
	a := alloc.New(nil)
	for i, u := range assign.Assign(s, a, assign.Options{}).Updates {
		s.Services[i] = written(u)
	}
	return s, a
}
