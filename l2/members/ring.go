// SPDX-License-Identifier: Apache-2.0

package members

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strings"
	"time"
)

// watchedLonger is how long agents are watched after none announces an address any more. It
// is longer than maxMasked: agents that were cut off announce none for a moment when they
// are back, and may fail once more.
const watchedLonger = 2 * maxMasked

// A ring has the agents that are alive, in an order that does not depend on their names'.
// Each is watched by the next ones, and all agents come to the same result. It is empty
// while none of them announces an address, nor did a moment ago: then nothing depends on how
// soon one is missed.
type ring []place

type place struct {
	hash uint64
	name string
}

// ring returns the agents that are alive. The caller holds the mutex.
func (l *List) ring(now time.Time) ring {
	if l.circle != nil && (l.announcing || len(l.circle) == 0 || now.Before(l.quiet.Add(watchedLonger))) {
		return l.circle
	}
	names := []string{l.opts.Node}
	announces := l.records[l.opts.Node].announces()
	for name := range l.alive {
		if l.isLost(name) {
			continue
		}
		names = append(names, name)
		r := l.records[name]
		announces = announces || r != nil && r.announces()
	}
	if l.announcing && !announces {
		l.quiet = now
	}
	l.announcing = announces
	if !announces && !now.Before(l.quiet.Add(watchedLonger)) {
		names = nil
	}
	l.circle = newRing(names)
	return l.circle
}

func placeOf(name string) place {
	h := fnv.New64a()
	h.Write([]byte(name))
	return place{h.Sum64(), name}
}

func newRing(names []string) ring {
	r := make(ring, len(names))
	for i, name := range names {
		r[i] = placeOf(name)
	}
	slices.SortFunc(r, place.compare)
	return r
}

func (p place) compare(o place) int {
	return cmp.Or(cmp.Compare(p.hash, o.hash), strings.Compare(p.name, o.name))
}

// watchersOf returns the agents that watch another one.
func (r ring) watchersOf(name string) []string { return r.near(name, 1) }

// watchedBy returns the agents that another one watches.
func (r ring) watchedBy(name string) []string { return r.near(name, -1) }

// near returns the agents before or after one.
func (r ring) near(name string, step int) (out []string) {
	at, ok := slices.BinarySearchFunc(r, placeOf(name), place.compare)
	if !ok {
		return nil
	}
	for i := range min(watchersEach, len(r)-1) {
		out = append(out, r[(at+step*(i+1)+len(r)*watchersEach)%len(r)].name)
	}
	return out
}
