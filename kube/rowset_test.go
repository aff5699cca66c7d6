// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type row struct {
	key   string
	value int
}

// TestRowset does random things to a rowset and a map, and compares them.
func TestRowset(t *testing.T) {
	t.Parallel()
	set := newRowset(func(r row) string { return r.key }, strings.Compare)
	model := make(map[string]int)
	random := rand.New(rand.NewPCG(1, 2))
	var given [][]row
	var copies [][]row
	for range 5000 {
		r := row{fmt.Sprint(random.IntN(40)), random.IntN(3)}
		old, had := model[r.key]
		switch random.IntN(10) {
		case 0, 1, 2, 3:
			if got, want := set.set(r), !had || old != r.value; got != want {
				t.Fatalf("set %v over %v, %v: changed %v, want %v", r, old, had, got, want)
			}
			model[r.key] = r.value
		case 4, 5, 6:
			if got := set.delete(r.key); got != had {
				t.Fatalf("delete %s: changed %v, want %v", r.key, got, had)
			}
			delete(model, r.key)
		case 7:
			next := make(map[string]int)
			var rows []row
			for range random.IntN(40) {
				r := row{fmt.Sprint(random.IntN(40)), random.IntN(3)}
				if _, ok := next[r.key]; !ok {
					next[r.key] = r.value
					rows = append(rows, r)
				}
			}
			if got, want := set.replace(rows), !maps.Equal(model, next); got != want {
				t.Fatalf("replace %v by %v: changed %v, want %v", model, next, got, want)
			}
			model = next
		default:
			var want []row
			for _, key := range slices.Sorted(maps.Keys(model)) {
				want = append(want, row{key, model[key]})
			}
			got := set.list()
			if !slices.Equal(want, got) {
				t.Fatalf("list: got %v, want %v", got, want)
			}
			given, copies = append(given, got), append(copies, slices.Clone(got))
		}
	}
	for i := range given {
		if !slices.Equal(given[i], copies[i]) {
			t.Fatalf("a list that was given out changed from %v to %v", copies[i], given[i])
		}
	}
}

func TestRowsetListAgain(t *testing.T) {
	set := newRowset(func(r row) string { return r.key }, strings.Compare)
	set.replace([]row{{"b", 1}, {"a", 2}})
	first := set.list()
	if diff := cmp.Diff([]row{{"a", 2}, {"b", 1}}, first, cmp.AllowUnexported(row{})); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	set.set(row{"a", 2})
	if second := set.list(); &first[0] != &second[0] {
		t.Error("a list without a change in between is another one")
	}
}

func BenchmarkRowset(b *testing.B) {
	set := newRowset(func(r row) string { return r.key }, strings.Compare)
	var rows []row
	for i := range 10000 {
		rows = append(rows, row{fmt.Sprintf("namespace/service-%05d", i), 0})
	}
	set.replace(rows)
	set.list()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		set.set(row{rows[i%len(rows)].key, i + 1})
		set.list()
	}
}
