// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// shownNames is how many names of a kind a message lists at most.
const shownNames = 5

// List joins the first texts, and appends how many it leaves out.
func List(all []string, separator string) string {
	if len(all) <= shownNames {
		return strings.Join(all, separator)
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:shownNames], separator), len(all)-shownNames)
}

// ListSet joins the first names in order, and appends how many it leaves out.
func ListSet(names map[string]bool) string {
	return List(slices.Sorted(maps.Keys(names)), ", ")
}
