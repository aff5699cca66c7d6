// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"maps"
	"reflect"
	"slices"
)

// maxChanges is from how many changes on a rowset may merge them into its rows.
const maxChanges = 64

// A rowset holds rows by key and gives them out sorted, in slices that it never
// writes to again. Reading after few changes costs one copy of the slice,
// however many rows there are; reading after none costs nothing.
type rowset[K comparable, V any] struct {
	key     func(V) K
	compare func(K, K) int
	same    func(V, V) bool // whether two rows with one key are equal

	// News is optional. It is called after rows have changed, and reports whether
	// that matters.
	news func([]change[V]) bool

	rows    []V      // sorted; somebody may be reading them
	changes map[K]*V // since rows were made; nil is a deletion
}

// A change is what became of a row; nil is no row.
type change[V any] struct{ old, now *V }

func newRowset[K comparable, V any](key func(V) K, compare func(K, K) int) *rowset[K, V] {
	same := func(a, b V) bool { return reflect.DeepEqual(a, b) }
	return &rowset[K, V]{key: key, compare: compare, same: same, changes: make(map[K]*V)}
}

// get returns the row of a key.
func (t *rowset[K, V]) get(k K) (row V, ok bool) {
	if found := t.find(k); found != nil {
		return *found, true
	}
	return row, false
}

// find returns the row of a key, nil if there is none.
func (t *rowset[K, V]) find(k K) *V {
	if change, ok := t.changes[k]; ok {
		return change
	}
	if i, ok := t.search(t.rows, k); ok {
		return &t.rows[i]
	}
	return nil
}

// size returns how many rows there are.
func (t *rowset[K, V]) size() int { return len(t.list()) }

// set inserts a row, or puts it in the place of the one with its key. It reports
// whether that changes anything that matters.
func (t *rowset[K, V]) set(row V) bool {
	k := t.key(row)
	old := t.find(k)
	if old != nil && t.same(*old, row) {
		return false
	}
	t.put(k, &row)
	return t.tell(change[V]{old, &row})
}

// delete removes the row of a key. It reports whether there was one, and that
// matters.
func (t *rowset[K, V]) delete(k K) bool {
	old := t.find(k)
	if old == nil {
		return false
	}
	t.put(k, nil)
	return t.tell(change[V]{old, nil})
}

// put adds a change. Many changes are merged into the rows, since some tables are never
// listed.
func (t *rowset[K, V]) put(k K, row *V) {
	t.changes[k] = row
	if len(t.changes) > maxChanges+len(t.rows) {
		t.list()
	}
}

// replace makes these the only rows, and takes the slice over. Of several rows with
// one key the last counts. It reports whether that changes anything that matters.
func (t *rowset[K, V]) replace(rows []V) bool {
	slices.SortStableFunc(rows, func(a, b V) int { return t.compare(t.key(a), t.key(b)) })
	old, next := t.list(), make([]V, 0, len(rows))
	var changes []change[V]
	for i := range rows {
		k := t.key(rows[i])
		if i+1 < len(rows) && t.key(rows[i+1]) == k {
			continue
		}
		for len(old) > 0 && t.compare(t.key(old[0]), k) < 0 {
			changes, old = append(changes, change[V]{&old[0], nil}), old[1:]
		}
		switch {
		case len(old) == 0 || t.key(old[0]) != k:
			changes, next = append(changes, change[V]{nil, &rows[i]}), append(next, rows[i])
			continue
		case t.same(old[0], rows[i]):
			next = append(next, old[0])
		default:
			changes, next = append(changes, change[V]{&old[0], &rows[i]}), append(next, rows[i])
		}
		old = old[1:]
	}
	for i := range old {
		changes = append(changes, change[V]{&old[i], nil})
	}
	t.rows = next
	return len(changes) > 0 && t.tell(changes...)
}

// tell reports whether changes matter.
func (t *rowset[K, V]) tell(changes ...change[V]) bool { return t.news == nil || t.news(changes) }

// list returns the rows in the order of their keys.
func (t *rowset[K, V]) list() []V {
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

func (t *rowset[K, V]) search(rows []V, k K) (int, bool) {
	return slices.BinarySearchFunc(rows, k, func(row V, k K) int { return t.compare(t.key(row), k) })
}
