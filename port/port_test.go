// SPDX-License-Identifier: Apache-2.0

package port_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/heraldlb/herald/port"
)

func TestSet(t *testing.T) {
	s := port.NewSet(port.Port{Protocol: "UDP", Number: 53}, port.Port{Protocol: "TCP", Number: 443}, port.Port{Protocol: "TCP", Number: 65535}, port.Port{Protocol: "TCP", Number: 443}, port.Port{Protocol: "SCTP", Number: 0}, port.Port{Protocol: "junk", Number: 1})
	if got, want := s.String(), "TCP/443,TCP/65535,UDP/53,SCTP/0"; got != want {
		t.Errorf("the set is %s, want %s", got, want)
	}
	if s.IsEmpty() || !port.NewSet().IsEmpty() || port.NewSet() != (port.Set{}) {
		t.Error("only the set of no ports is empty")
	}
}

// TestSetAgainstSlices compares random sets with plain lists.
func TestSetAgainstSlices(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func() (out []port.Port) {
		most := []int{3, 70, 3000}[r.IntN(3)]
		for range r.IntN(most) {
			out = append(out, port.Port{Protocol: []string{"TCP", "UDP", "SCTP"}[r.IntN(3)], Number: uint16(r.IntN(2 * most))})
		}
		return out
	}
	for range 500 {
		x, y := random(), random()
		sx, sy := port.NewSet(x...), port.NewSet(y...)
		all := slices.Collect(sx.All())
		if port.NewSet(all...) != sx {
			t.Fatalf("%v is not the set of its ports", sx)
		}
		for _, p := range x {
			if !slices.Contains(all, p) {
				t.Fatalf("%v is not in %v", p, sx)
			}
		}
		for _, p := range all {
			if !slices.Contains(x, p) {
				t.Fatalf("%v is in %v", p, sx)
			}
		}
		common, ok := sx.Common(sy)
		want := slices.IndexFunc(all, func(p port.Port) bool { return slices.Contains(y, p) })
		if ok != (want >= 0) || ok && common != all[want] {
			t.Fatalf("common port of %v and %v: %v, %t", sx, sy, common, ok)
		}
	}
}

func BenchmarkCommon(b *testing.B) {
	var even, odd []port.Port
	for n := range 6000 {
		even = append(even, port.Port{Protocol: "TCP", Number: uint16(10 * n)})
		odd = append(odd, port.Port{Protocol: "TCP", Number: uint16(10*n + 1)})
	}
	x, y := port.NewSet(even...), port.NewSet(odd...)
	for b.Loop() {
		if _, ok := x.Common(y); ok {
			b.Fatal("they have a port in common")
		}
	}
}
