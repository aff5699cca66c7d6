// SPDX-License-Identifier: Apache-2.0

// Package port has ports of Services, and sets of them.
package port

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math/bits"
	"slices"
	"strings"
)

// A Port is a port of a Service.
type Port struct {
	Protocol string // TCP, UDP or SCTP
	Number   uint16
}

// String returns text such as TCP/80.
func (p Port) String() string { return fmt.Sprintf("%s/%d", p.Protocol, p.Number) }

// A Set is a set of ports. Equal sets are equal values. All that is done with sets takes
// a time that is bounded whatever they contain: a set is a few thousand pages at most.
type Set struct {
	pages string // sorted by key; pageSize bytes each
}

// A page is 64 ports: a key of two bytes, of the protocol and the higher bits of the
// number, and eight bytes with a bit for each port.
const (
	keySize  = 2
	pageSize = keySize + 8
)

// protocols are those that a Service can have.
var protocols = [...]string{"TCP", "UDP", "SCTP"}

// NewSet returns the set of ports. Those of protocols that no Service can have are left
// out.
func NewSet(ports ...Port) Set {
	all := make([]uint32, 0, len(ports))
	for _, p := range ports {
		if i := slices.Index(protocols[:], p.Protocol); i >= 0 {
			all = append(all, uint32(i)<<16|uint32(p.Number))
		}
	}
	slices.Sort(all)
	var b []byte
	for i := 0; i < len(all); {
		key, word := all[i]>>6, uint64(0)
		for ; i < len(all) && all[i]>>6 == key; i++ {
			word |= 1 << (all[i] & 63)
		}
		b = binary.BigEndian.AppendUint16(b, uint16(key))
		b = binary.BigEndian.AppendUint64(b, word)
	}
	return Set{string(b)}
}

// IsEmpty reports whether s has no ports.
func (s Set) IsEmpty() bool { return s.pages == "" }

// All returns the ports in the order of protocols and numbers.
func (s Set) All() iter.Seq[Port] {
	return func(yield func(Port) bool) {
		for rest := s.pages; rest != ""; rest = rest[pageSize:] {
			for word := wordOf(rest); word != 0; word &= word - 1 {
				if !yield(portOf(keyOf(rest), word)) {
					return
				}
			}
		}
	}
}

// String returns text such as TCP/80,UDP/53.
func (s Set) String() string {
	var b strings.Builder
	for p := range s.All() {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(p.String())
	}
	return b.String()
}

// Common returns the first port that is in both s and o, and whether there is one.
func (s Set) Common(o Set) (Port, bool) {
	x, y := s.pages, o.pages
	for x != "" && y != "" {
		kx, ky := keyOf(x), keyOf(y)
		if kx == ky {
			if word := wordOf(x) & wordOf(y); word != 0 {
				return portOf(kx, word), true
			}
		}
		if kx <= ky {
			x = x[pageSize:]
		}
		if ky <= kx {
			y = y[pageSize:]
		}
	}
	return Port{}, false
}

// keyOf returns the key of the first of pages.
func keyOf(pages string) uint16 { return uint16(pages[0])<<8 | uint16(pages[1]) }

// wordOf returns the bits of the first of pages.
func wordOf(pages string) uint64 {
	_ = pages[pageSize-1]
	return uint64(pages[2])<<56 | uint64(pages[3])<<48 | uint64(pages[4])<<40 | uint64(pages[5])<<32 |
		uint64(pages[6])<<24 | uint64(pages[7])<<16 | uint64(pages[8])<<8 | uint64(pages[9])
}

// portOf returns the port of the lowest bit of a page's word.
func portOf(key uint16, word uint64) Port {
	n := uint32(key)<<6 | uint32(bits.TrailingZeros64(word))
	return Port{protocols[n>>16], uint16(n)}
}
