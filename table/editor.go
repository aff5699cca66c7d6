// SPDX-License-Identifier: Apache-2.0

package table

import "slices"

// An Editor makes versions of a table. It copies a chunk before the first change that
// follows a call of Table, and changes its own copy after that. The zero Editor begins with
// the empty table. It is not safe for concurrent use.
type Editor[K Key[K], V any] struct {
	table Table[K, V]
	own   []bool // by chunk: nobody else has it; nil: somebody else has the list of chunks too
}

// Table returns the table as it is now. Later changes do not touch it.
func (e *Editor[K, V]) Table() Table[K, V] {
	e.own = nil
	return e.table
}

// Len returns how many entries there are.
func (e *Editor[K, V]) Len() int { return e.table.size }

// Get returns the value of a key, and whether there is one.
func (e *Editor[K, V]) Get(k K) (V, bool) { return e.table.Get(k) }

// Clear removes all entries.
func (e *Editor[K, V]) Clear() { *e = Editor[K, V]{} }

// Set inserts a value, or puts it in the place of the one with its key.
func (e *Editor[K, V]) Set(k K, v V) {
	i, j, found := e.table.find(k)
	if len(e.table.chunks) == 0 {
		e.insert(0, []entry[K, V]{{k, v}})
		e.table.size++
		return
	}
	c := e.chunk(i)
	if found {
		c.entries[j].value = v
		return
	}
	e.table.size++
	if len(c.entries) == full {
		if j == full && i == len(e.table.chunks)-1 {
			e.insert(i+1, []entry[K, V]{{k, v}}) // as when entries come in order
			return
		}
		e.insert(i+1, slices.Clone(c.entries[full/2:]))
		if c.entries = slices.Clone(c.entries[:full/2]); j > full/2 {
			c, j = e.table.chunks[i+1], j-full/2
		}
	}
	c.entries = slices.Insert(c.entries, j, entry[K, V]{k, v})
}

// Delete removes the value of a key, and reports whether there was one.
func (e *Editor[K, V]) Delete(k K) bool {
	i, j, found := e.table.find(k)
	if !found {
		return false
	}
	e.table.size--
	c := e.chunk(i)
	c.entries = slices.Delete(c.entries, j, j+1)
	if len(c.entries) > full/4 {
		return true
	}
	// A small chunk joins the one before it, so that there are few.
	switch {
	case len(c.entries) == 0:
	case i > 0 && len(e.table.chunks[i-1].entries)+len(c.entries) <= full/2:
		before := e.chunk(i - 1)
		before.entries = append(before.entries, c.entries...)
	default:
		return true
	}
	e.table.chunks = slices.Delete(e.table.chunks, i, i+1)
	e.own = slices.Delete(e.own, i, i+1)
	return true
}

// take makes the list of chunks the Editor's own.
func (e *Editor[K, V]) take() {
	if e.own == nil {
		e.table.chunks = slices.Clone(e.table.chunks)
		e.own = make([]bool, len(e.table.chunks), len(e.table.chunks)+1)
	}
}

// chunk returns a chunk, which the Editor may change.
func (e *Editor[K, V]) chunk(i int) *chunk[K, V] {
	e.take()
	if !e.own[i] {
		was := e.table.chunks[i].entries
		e.table.chunks[i] = &chunk[K, V]{append(make([]entry[K, V], 0, len(was)+1), was...)}
		e.own[i] = true
	}
	return e.table.chunks[i]
}

// insert inserts a chunk of the Editor's own.
func (e *Editor[K, V]) insert(i int, entries []entry[K, V]) {
	e.take()
	e.table.chunks = slices.Insert(e.table.chunks, i, &chunk[K, V]{entries})
	e.own = slices.Insert(e.own, i, true)
}
