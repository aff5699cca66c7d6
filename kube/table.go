// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"maps"
	"reflect"
	"slices"
)

// A table holds rows by key and gives them out sorted, in slices that it never
// writes to again. Reading after few changes costs one copy of the slice,
// however many rows there are; reading after none costs nothing.
type table[K comparable, V any] struct {
	key     func(V) K
	compare func(K, K) int

	rows    []V      // sorted; somebody may be reading them
	changes map[K]*V // since rows were made; nil is a deletion
}

func newTable[K comparable, V any](key func(V) K, compare func(K, K) int) *table[K, V] {
	return &table[K, V]{key: key, compare: compare, changes: make(map[K]*V)}
}

// get returns the row of a key.
func (t *table[K, V]) get(k K) (row V, ok bool) {
	if change, ok := t.changes[k]; ok {
		if change == nil {
			return row, false
		}
		return *change, true
	}
	if i, ok := t.search(t.rows, k); ok {
		return t.rows[i], true
	}
	return row, false
}

// size returns how many rows there are.
func (t *table[K, V]) size() int {
	n := len(t.rows)
	for k, row := range t.changes {
		_, was := t.search(t.rows, k)
		switch {
		case row != nil && !was:
			n++
		case row == nil && was:
			n--
		}
	}
	return n
}

// set inserts a row, or puts it in the place of the one with its key. It reports
// whether that changes anything.
func (t *table[K, V]) set(row V) bool {
	k := t.key(row)
	if old, ok := t.get(k); ok && reflect.DeepEqual(old, row) {
		return false
	}
	t.changes[k] = &row
	return true
}

// delete removes the row of a key. It reports whether there was one.
func (t *table[K, V]) delete(k K) bool {
	if _, ok := t.get(k); !ok {
		return false
	}
	t.changes[k] = nil
	return true
}

// replace makes these the only rows. It reports whether that changes anything.
func (t *table[K, V]) replace(rows []V) bool {
	keep := make(map[K]bool, len(rows))
	changed := false
	for _, row := range rows {
		keep[t.key(row)] = true
		changed = t.set(row) || changed
	}
	for _, row := range t.rows {
		if k := t.key(row); !keep[k] {
			changed = t.delete(k) || changed
		}
	}
	for k := range t.changes {
		if !keep[k] {
			changed = t.delete(k) || changed
		}
	}
	return changed
}

// list returns the rows in the order of their keys.
func (t *table[K, V]) list() []V {
	if len(t.changes) == 0 {
		return t.rows
	}
	next := make([]V, 0, len(t.rows)+len(t.changes))
	rest := t.rows
	for _, k := range slices.SortedFunc(maps.Keys(t.changes), t.compare) {
		i, found := t.search(rest, k)
		next = append(next, rest[:i]...)
		rest = rest[i:]
		if found {
			rest = rest[1:]
		}
		if row := t.changes[k]; row != nil {
			next = append(next, *row)
		}
	}
	t.rows = append(next, rest...)
	clear(t.changes)
	return t.rows
}

func (t *table[K, V]) search(rows []V, k K) (int, bool) {
	return slices.BinarySearchFunc(rows, k, func(row V, k K) int { return t.compare(t.key(row), k) })
}
