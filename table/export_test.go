// SPDX-License-Identifier: Apache-2.0

package table

// Chunks returns how many chunks a table has.
func Chunks[K Key[K], V any](t Table[K, V]) int { return len(t.chunks) }
