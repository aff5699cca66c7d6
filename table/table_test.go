// SPDX-License-Identifier: Apache-2.0

package table_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/heraldlb/herald/table"
)

type key int

func (k key) Compare(o key) int { return cmp.Compare(k, o) }

// A model is what a table is to have.
type model map[key]int

func (m model) check(t *testing.T, got table.Table[key, int]) {
	t.Helper()
	if got.Len() != len(m) {
		t.Fatalf("%d entries, want %d", got.Len(), len(m))
	}
	keys := slices.Sorted(maps.Keys(m))
	i := 0
	for k, v := range got.All() {
		if i >= len(keys) || k != keys[i] || v != m[k] {
			t.Fatalf("entry %d is %d: %d", i, k, v)
		}
		if v, ok := got.Get(k); !ok || v != m[k] {
			t.Fatalf("entry %d is not found", k)
		}
		if _, ok := m[k+1]; !ok {
			if _, ok := got.Get(k + 1); ok {
				t.Fatalf("an entry %d is found", k+1)
			}
		}
		i++
	}
	if i != len(keys) {
		t.Fatalf("%d entries, want %d", i, len(keys))
	}
}

// diff checks what Diff finds between two tables.
func (m model) diff(t *testing.T, after model, x, y table.Table[key, int]) {
	t.Helper()
	var last key = -1
	found := 0
	for c := range table.Diff(x, y, table.Same) {
		found++
		if c.Key <= last {
			t.Fatalf("%d after %d", c.Key, last)
		}
		last = c.Key
		old, had := m[c.Key]
		now, has := after[c.Key]
		if had != (c.Before != nil) || has != (c.After != nil) || had && *c.Before != old || has && *c.After != now || had && has && old == now {
			t.Fatalf("change of %d: %v", c.Key, c)
		}
	}
	want := 0
	for k, v := range m {
		if now, has := after[k]; !has || now != v {
			want++
		}
	}
	for k := range after {
		if _, had := m[k]; !had {
			want++
		}
	}
	if found != want {
		t.Fatalf("%d changes found, of %d", found, want)
	}
}

func TestRandom(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		type version struct {
			model
			table table.Table[key, int]
		}
		var versions []version
		var e table.Editor[key, int]
		m := model{}
		space := []int{10, 300, 5000}[seed%3]
		for step := range 60 {
			for range r.IntN(1 + space/2) {
				k := key(r.IntN(space))
				if grow := step%20 < 12; r.IntN(10) < 7 == grow {
					v := r.IntN(3)
					e.Set(k, v)
					m[k] = v
				} else if _, had := m[k]; e.Delete(k) != had {
					t.Fatalf("seed %d: %d was there: %v", seed, k, had)
				} else {
					delete(m, k)
				}
			}
			now := version{maps.Clone(m), e.Table()}
			versions = append(versions, now)
			before := versions[r.IntN(len(versions))]
			before.check(t, before.table) // later edits have not changed it
			before.diff(t, now.model, before.table, now.table)
			if r.IntN(5) == 0 {
				e = *before.table.Edit()
				m = maps.Clone(before.model)
			}
		}
		for _, v := range versions {
			v.check(t, v.table)
		}
	}
}

// Tables that share all but one entry are compared without a look at most entries.
func TestDiffLooksAtLittle(t *testing.T) {
	all := table.Of(func(yield func(key, int) bool) {
		for i := range 10_000 {
			if !yield(key(i), i) {
				return
			}
		}
	})
	e := all.Edit()
	e.Set(5000, -1)
	e.Delete(7000)
	looked, changes := 0, 0
	for range table.Diff(all, e.Table(), func(a, b int) bool { looked++; return a == b }) {
		changes++
	}
	if changes != 2 || looked > 1000 {
		t.Errorf("%d changes, %d entries compared", changes, looked)
	}
}

// Deleting most entries leaves no table of tiny chunks behind, which would be slow to copy.
func TestDeleteJoins(t *testing.T) {
	var e table.Editor[key, int]
	for i := range 10_000 {
		e.Set(key(i), i)
	}
	for i := range 10_000 {
		if i%100 != 0 {
			e.Delete(key(i))
		}
	}
	if n := table.Chunks(e.Table()); n > 16 {
		t.Errorf("%d chunks for %d entries", n, e.Len())
	}
}

func TestDiffStops(t *testing.T) {
	var e table.Editor[key, int]
	e.Set(1, 1)
	e.Set(2, 2)
	for c := range table.Diff(table.Table[key, int]{}, e.Table(), table.Same) {
		if c.Key != 1 {
			t.Fatal("it goes on")
		}
		break
	}
	for k := range e.Table().All() {
		if k != 1 {
			t.Fatal("it goes on")
		}
		break
	}
}

// BenchmarkSet changes one entry and finds out which.
func BenchmarkSet(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var e table.Editor[key, *int]
			for i := range n {
				e.Set(key(i), new(int))
			}
			before := e.Table()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e.Set(key(i*7919%n), new(int))
				after := e.Table()
				for range table.Diff(before, after, table.Same) {
				}
				before = after
			}
		})
	}
}

// BenchmarkOf makes a table from nothing.
func BenchmarkOf(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		table.Of(func(yield func(key, int) bool) {
			for i := range 10_000 {
				if !yield(key(i), i) {
					return
				}
			}
		})
	}
}
