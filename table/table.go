// SPDX-License-Identifier: Apache-2.0

// Package table has sorted tables that share what they have in common: to change one of
// thousands of entries costs little, and so does to find what differs between two versions.
package table

import (
	"iter"
	"slices"
)

// full is how many entries a chunk has at most. A change copies a chunk, and the list of all
// chunks.
const full = 64

// A Key names an entry, and orders entries.
type Key[K any] interface {
	comparable
	Compare(K) int
}

// A Table has values by key, in the order of the keys. It is immutable and may be shared;
// an Editor makes another one. The zero Table is empty.
type Table[K Key[K], V any] struct {
	chunks []*chunk[K, V] // in order; none is empty
	size   int
}

type chunk[K Key[K], V any] struct{ entries []entry[K, V] }

type entry[K Key[K], V any] struct {
	key   K
	value V
}

// Of returns a Table of these values. Of several with one key the last counts.
func Of[K Key[K], V any](all iter.Seq2[K, V]) Table[K, V] {
	var e Editor[K, V]
	for k, v := range all {
		e.Set(k, v)
	}
	return e.Table()
}

// Len returns how many entries there are.
func (t Table[K, V]) Len() int { return t.size }

// Get returns the value of a key, and whether there is one.
func (t Table[K, V]) Get(k K) (v V, ok bool) {
	i, j, found := t.find(k)
	if !found {
		return v, false
	}
	return t.chunks[i].entries[j].value, true
}

// All yields all entries in the order of their keys.
func (t Table[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, c := range t.chunks {
			for i := range c.entries {
				if !yield(c.entries[i].key, c.entries[i].value) {
					return
				}
			}
		}
	}
}

// Edit returns an Editor that begins with t.
func (t Table[K, V]) Edit() *Editor[K, V] { return &Editor[K, V]{table: t} }

// find returns the chunk that has a key, or would have it, and the place in that chunk.
func (t Table[K, V]) find(k K) (i, j int, found bool) {
	i, exact := slices.BinarySearchFunc(t.chunks, k, func(c *chunk[K, V], k K) int { return c.entries[0].key.Compare(k) })
	if exact {
		return i, 0, true
	}
	if i == 0 {
		return 0, 0, false
	}
	j, found = slices.BinarySearchFunc(t.chunks[i-1].entries, k, func(e entry[K, V], k K) int { return e.key.Compare(k) })
	return i - 1, j, found
}

// A Change is what became of an entry. One of the two values may be nil: there was no entry,
// or there is none any more. Both are read-only.
type Change[K Key[K], V any] struct {
	Key           K
	Before, After *V
}

// Diff yields the entries that differ between two tables, in the order of their keys. Same
// reports whether two values are equal. What the tables share is not looked at.
func Diff[K Key[K], V any](before, after Table[K, V], same func(a, b V) bool) iter.Seq[Change[K, V]] {
	return func(yield func(Change[K, V]) bool) {
		a, b := cursor[K, V]{rest: before.chunks}, cursor[K, V]{rest: after.chunks}
		for {
			for a.begins() && b.begins() && a.rest[0] == b.rest[0] {
				a.rest, b.rest = a.rest[1:], b.rest[1:]
			}
			x, y := a.peek(), b.peek()
			var c Change[K, V]
			order := 0
			switch {
			case x == nil && y == nil:
				return
			case x == nil:
				order = 1
			case y == nil:
				order = -1
			default:
				order = x.key.Compare(y.key)
			}
			if order <= 0 {
				c.Key, c.Before = x.key, &x.value
				a.next()
			}
			if order >= 0 {
				c.Key, c.After = y.key, &y.value
				b.next()
			}
			if (order != 0 || !same(x.value, y.value)) && !yield(c) {
				return
			}
		}
	}
}

// Same reports whether two values are equal; it is for Diff.
func Same[V comparable](a, b V) bool { return a == b }

// A cursor walks through the entries of a table.
type cursor[K Key[K], V any] struct {
	rest []*chunk[K, V]
	at   int // in the first of rest
}

// begins reports whether the next entry is the first one of a chunk.
func (c *cursor[K, V]) begins() bool { return c.at == 0 && len(c.rest) > 0 }

// peek returns the next entry; nil at the end.
func (c *cursor[K, V]) peek() *entry[K, V] {
	if len(c.rest) == 0 {
		return nil
	}
	return &c.rest[0].entries[c.at]
}

// next goes on behind the entry that peek returned.
func (c *cursor[K, V]) next() {
	if c.at++; c.at == len(c.rest[0].entries) {
		c.rest, c.at = c.rest[1:], 0
	}
}
