// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Owner elects one of the candidates for a key by rendezvous hashing: each has
// a score for each key, and the highest wins. Every agent that knows the same
// candidates elects the same one, whatever their order; a candidate that comes
// or goes moves only the keys that it wins or won. It returns "" if there are
// no candidates.
//
// The score of a candidate is mix(h(candidate) XOR h(key)), where h is the first
// eight bytes of SHA-256, big endian, and mix the finalizer of SplitMix64. It is
// part of the protocol between agents: those of two versions run side by side
// during an upgrade.
func Owner(key string, candidates []string) string {
	k := hashText([]byte(key))
	best := ""
	var highest uint64
	for _, c := range candidates {
		s := mix(hashText([]byte(c)) ^ k)
		if best == "" || s > highest || s == highest && c < best {
			best, highest = c, s
		}
	}
	return best
}

func hashText(b []byte) uint64 {
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:])
}

// hashAddr is hashText of the address as text.
func hashAddr(a netip.Addr) uint64 {
	var buf [48]byte
	return hashText(a.AppendTo(buf[:0]))
}

func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// A nodeSet is a set of indexes of electorate.nodes, a bit each.
type nodeSet []uint64

func newNodeSet(size int) nodeSet { return make(nodeSet, (size+63)/64) }

func (s nodeSet) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s nodeSet) remove(i int)   { s[i/64] &^= 1 << (i % 64) }
func (s nodeSet) has(i int) bool { return s[i/64]>>(i%64)&1 == 1 }

func (s nodeSet) empty() bool {
	for _, w := range s {
		if w != 0 {
			return false
		}
	}
	return true
}

// and returns the nodes that are in both sets.
func (s nodeSet) and(o nodeSet) nodeSet {
	out := make(nodeSet, len(s))
	for i := range s {
		out[i] = s[i] & o[i]
	}
	return out
}

// minus returns the nodes that are in this set alone.
func (s nodeSet) minus(o nodeSet) nodeSet {
	out := make(nodeSet, len(s))
	for i := range s {
		out[i] = s[i] &^ o[i]
	}
	return out
}

// or returns the nodes that are in either set.
func (s nodeSet) or(o nodeSet) nodeSet {
	out := make(nodeSet, len(s))
	for i := range s {
		out[i] = s[i] | o[i]
	}
	return out
}

// winner returns the index with the highest score for a key among those that
// are in both sets, or -1.
func winner(key uint64, hashes []uint64, a, b nodeSet) int {
	best := -1
	var highest uint64
	for w := range a {
		for word := a[w] & b[w]; word != 0; word &= word - 1 {
			i := w*64 + bits.TrailingZeros64(word)
			// Nodes are in the order of their names, so that of two equal
			// scores the first counts, as in Owner.
			if s := mix(hashes[i] ^ key); best < 0 || s > highest {
				best, highest = i, s
			}
		}
	}
	return best
}
