// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"slices"

	"github.com/heraldlb/herald/cluster"
)

// An index holds the keys of rows by the Service that these are about.
type index[K comparable] map[cluster.Key][]K

// add adds the key of a row.
func (x index[K]) add(service cluster.Key, k K) { x[service] = append(x[service], k) }

// remove removes the key of a row.
func (x index[K]) remove(service cluster.Key, k K) {
	rest := slices.DeleteFunc(x[service], func(other K) bool { return other == k })
	if len(rest) == 0 {
		delete(x, service)
		return
	}
	x[service] = rest
}
