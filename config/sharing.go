// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"
	"strings"
)

// The values of AnnotationPoolSharing: whose Services share an address of the pool when
// their sharing keys are equal.
const (
	SharingAny   = "any"   // those of all namespaces
	SharingNamed = "named" // those of one namespace, and of two that name each other
)

// ParsePoolSharing reads the value of AnnotationPoolSharing, and returns whether the pool
// is Separate. An empty text leaves that to the quota: who gives namespaces a share of the
// pool does not want one to use what another has.
func ParsePoolSharing(text string, quota *Quota) (separate bool, err error) {
	switch strings.TrimSpace(text) {
	case "":
		return quota != nil, nil
	case SharingAny:
		return false, nil
	case SharingNamed:
		return true, nil
	}
	return quota != nil, fmt.Errorf("unknown value %s, want %s or %s", quote(text), SharingAny, SharingNamed)
}

// ParseNamespaces reads "shop, team-a", the value of AnnotationShareWith. An empty text
// has none, and gives an empty list that is not nil.
func ParseNamespaces(text string) ([]string, error) {
	out := []string{}
	if strings.TrimSpace(text) == "" {
		return out, nil
	}
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		if !isName(name) {
			return []string{}, fmt.Errorf("%s cannot be a namespace", quote(name))
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
