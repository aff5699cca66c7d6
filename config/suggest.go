// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"
)

// DidYouMean returns "; did you mean NAME?" for the one of known that name is
// like, and nothing if it is like none. Names that differ in their numbers alone
// are not alike, nor are very short ones.
func DidYouMean(name string, known []string) string {
	known = slices.DeleteFunc(slices.Clone(known), func(k string) bool {
		return !alike(name, k) && (len(k) < 3 || letters(name) == letters(k))
	})
	if k := closest(name, known); k != "" {
		return "; did you mean " + k + "?"
	}
	return ""
}

// letters returns name without digits.
func letters(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, name)
}

// closest returns which of known was probably meant by key, or "".
func closest(key string, known []string) string {
	for _, like := range []func(string, string) bool{alike, near} {
		if i := slices.IndexFunc(known, func(k string) bool { return like(key, k) }); i >= 0 {
			return known[i]
		}
	}
	return ""
}

// alike reports whether a and known differ only as camelCase, snake_case and
// kebab-case do.
func alike(a, known string) bool { return squash(a) == squash(known) }

func squash(key string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(key))
}

// near reports whether at most one edit in four characters of known turns a
// into it.
func near(a, known string) bool {
	limit := max(1, len(known)/4)
	if len(a) > len(known)+limit || len(known) > len(a)+limit {
		return false
	}
	return editDistance(a, known) <= limit
}

// editDistance returns how many bytes must be inserted, removed, replaced or swapped with
// their neighbor to turn a into b (optimal string alignment).
func editDistance(a, b string) int {
	var before []int // the row of i-2
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			cost := row[j]
			if a[i] != b[j] {
				cost++
			}
			next[j+1] = min(cost, next[j]+1, row[j+1]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
