// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"fmt"
	"testing"
)

// pairwise returns some of the rows that together have every pair of values of two
// columns which any of the rows has: most faults that take a combination take two
// values. Rows are comparable by what columns returns for them, a value for each
// column. Equal input gives equal output.
//
// It takes the row that has most of the missing pairs, the first of several such,
// until none is missing. That is seldom more than a few rows above the least.
func pairwise[T any](rows []T, columns func(T) []string) []T {
	missing := make(map[pair]bool)
	pairs := make([][]pair, len(rows))
	for i, r := range rows {
		pairs[i] = pairsOf(columns(r))
		for _, p := range pairs[i] {
			missing[p] = true
		}
	}
	var chosen []T
	for len(missing) > 0 {
		best, most := 0, 0
		for i := range rows {
			n := 0
			for _, p := range pairs[i] {
				if missing[p] {
					n++
				}
			}
			if n > most {
				best, most = i, n
			}
		}
		for _, p := range pairs[best] {
			delete(missing, p)
		}
		chosen = append(chosen, rows[best])
	}
	return chosen
}

// A pair is the values that a row has in two columns.
type pair struct {
	columns [2]int
	values  [2]string
}

func pairsOf(values []string) []pair {
	var all []pair
	for i := range values {
		for j := range i {
			all = append(all, pair{[2]int{j, i}, [2]string{values[j], values[i]}})
		}
	}
	return all
}

func TestPairwise(t *testing.T) {
	same := func(r []string) []string { return r }
	tests := []struct {
		name string
		rows [][]string
		most int // rows that it may take
	}{
		{"none", nil, 0},
		{"one column", [][]string{{"a"}, {"b"}}, 0}, // there are no pairs
		{"one row", [][]string{{"a", "b", "c"}}, 1},
		{"four switches", product(2, 2, 2, 2), 6},
		{"uneven", product(5, 3, 2, 2, 2, 2), 17},
		{"not all combinations", without(product(3, 3, 3, 3), func(r []string) bool { return r[0] == r[1] }), 12},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := pairwise(test.rows, same)
			if len(got) > test.most {
				t.Errorf("%d rows of %d, want at most %d", len(got), len(test.rows), test.most)
			}
			has := map[pair]bool{}
			for _, r := range got {
				for _, p := range pairsOf(r) {
					has[p] = true
				}
			}
			for _, r := range test.rows {
				for _, p := range pairsOf(r) {
					if !has[p] {
						t.Errorf("no row has %v", p)
					}
				}
			}
			for range 3 {
				if again := pairwise(test.rows, same); fmt.Sprint(again) != fmt.Sprint(got) {
					t.Fatalf("the same rows give %v, then %v", got, again)
				}
			}
			known := map[string]bool{}
			for _, r := range test.rows {
				known[fmt.Sprint(r)] = true
			}
			for _, r := range got {
				if !known[fmt.Sprint(r)] {
					t.Errorf("row %v is new", r)
				}
			}
		})
	}
}

// product returns all rows of columns with so many values.
func product(values ...int) [][]string {
	rows := [][]string{nil}
	for _, n := range values {
		var longer [][]string
		for _, r := range rows {
			for v := range n {
				longer = append(longer, append(r[:len(r):len(r)], fmt.Sprint(v)))
			}
		}
		rows = longer
	}
	return rows
}

// without returns the rows for which drop does not hold.
func without(rows [][]string, drop func([]string) bool) [][]string {
	var rest [][]string
	for _, r := range rows {
		if !drop(r) {
			rest = append(rest, r)
		}
	}
	return rest
}
