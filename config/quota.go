// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strconv"
	"strings"
)

// maxQuota is more than any cluster has Services.
const maxQuota = 1_000_000

// A Quota bounds how many addresses of a pool the Services of one namespace
// hold together. It counts each family on its own, an address that Services of
// the namespace share once, and one that is reserved for them not at all.
type Quota struct {
	Default    *int           // of the namespaces that are not in Namespaces; nil: no bound
	Namespaces map[string]int // by name; 0: none at all
}

// Limit returns how many addresses a namespace may have, and whether that is
// bounded. A nil Quota bounds nothing.
func (q *Quota) Limit(namespace string) (n int, bounded bool) {
	if q == nil {
		return 0, false
	}
	if n, ok := q.Namespaces[namespace]; ok {
		return n, true
	}
	if q.Default == nil {
		return 0, false
	}
	return *q.Default, true
}

// ParseQuota reads "default=10, team-a=50": how many addresses each namespace
// may have, default standing for those that are not named. The namespace that
// has the name default is written namespace/default. An empty text bounds
// nothing and gives nil.
func ParseQuota(text string) (*Quota, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	q := &Quota{Namespaces: map[string]int{}}
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		who, number, ok := strings.Cut(item, "=")
		if !ok {
			return nil, fmt.Errorf("invalid quota %s: want namespace=number or default=number", quote(item))
		}
		n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 32)
		if err != nil || n > maxQuota {
			return nil, fmt.Errorf("invalid quota %s: want a number from 0 to %d", quote(item), maxQuota)
		}
		who = strings.TrimSpace(who)
		if who == "default" {
			if q.Default != nil {
				return nil, fmt.Errorf("invalid quota %s: default is there twice", quote(item))
			}
			q.Default = new(int(n))
			continue
		}
		namespace := strings.TrimPrefix(who, "namespace/")
		if !isName(namespace) {
			return nil, fmt.Errorf("invalid quota %s: %s cannot be a namespace", quote(item), quote(namespace))
		}
		if _, twice := q.Namespaces[namespace]; twice {
			return nil, fmt.Errorf("invalid quota %s: %s is there twice", quote(item), namespace)
		}
		q.Namespaces[namespace] = int(n)
	}
	return q, nil
}
