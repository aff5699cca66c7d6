// SPDX-License-Identifier: Apache-2.0

package render

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
)

const (
	// lastSequence is the highest number of an entry of a route-map. The entry that
	// denies the rest has it.
	lastSequence = 65535
	// maxClasses leaves enough sequence numbers free for every class to find its own.
	maxClasses = 16384
)

// A label identifies a class in frr.conf.
type label struct {
	tag      uint32 // in the route, from its origin to the neighbors' route-maps
	sequence uint32 // of its entry in each neighbor's route-map
}

func (l label) routeMap() string { return fmt.Sprintf("herald-class-%08x", l.tag) }

// RouteMap returns the name of the route-map of a class's routes, unless another class took it
// first.
func RouteMap(c Class) string {
	return label{tag: spread([]string{c.String()}, "tag", 1<<32-1)[0]}.routeMap()
}

// labels returns the label of each class. The label depends only on the content of
// the class, not on other classes. Entries of route-maps are therefore added and
// removed, but never edited: FRR applies an edit only after its route-map delay
// timer, 5 s.
func labels(classes []Class) ([]label, error) {
	if len(classes) > maxClasses {
		return nil, fmt.Errorf("%d classes of routes; no more than %d have room", len(classes), maxClasses)
	}
	contents := make([]string, len(classes))
	for i, c := range classes {
		contents[i] = c.String()
	}
	tags := spread(contents, "tag", 1<<32-1)
	sequences := spread(contents, "sequence", lastSequence-1)
	out := make([]label, len(classes))
	for i := range out {
		out[i] = label{tags[i], sequences[i]}
	}
	return out, nil
}

// String returns the content of c, one line for each neighbor. It is the same for two
// classes only if they are equal.
func (c Class) String() string {
	var b strings.Builder
	for _, a := range c.Attributes {
		fmt.Fprintf(&b, "%s %d", a.Neighbor, a.LocalPref)
		for _, com := range a.Communities {
			fmt.Fprintf(&b, " %t:%s", com.IsLarge(), com)
		}
		if a.MED.Set {
			fmt.Fprintf(&b, " med %d", a.MED.Value)
		}
		if len(a.Prepend) > 0 {
			fmt.Fprintf(&b, " prepend %d", a.Prepend)
		}
		if a.GracefulShutdown {
			b.WriteString(" graceful-shutdown")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// spread gives each content its own number from 1 to limit. The number does not
// depend on the other contents, unless several have the same hash. All of these take
// the number of their next hash. If one of them kept the first number, its number
// would depend on the others.
func spread(contents []string, salt string, limit uint32) []uint32 {
	round := make([]uint32, len(contents))
	numbers := make([]uint32, len(contents))
	for i, c := range contents {
		numbers[i] = hash(c, salt, 0, limit)
	}
	for {
		holders := make(map[uint32]int, len(contents))
		for _, n := range numbers {
			holders[n]++
		}
		if len(holders) == len(contents) {
			return numbers
		}
		for i, n := range numbers {
			if holders[n] > 1 {
				round[i]++
				numbers[i] = hash(contents[i], salt, round[i], limit)
			}
		}
	}
}

// hash returns a number from 1 to limit.
func hash(content, salt string, round, limit uint32) uint32 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d\n%s", salt, round, content))
	return uint32(binary.BigEndian.Uint64(sum[:8])%uint64(limit)) + 1
}
