// SPDX-License-Identifier: Apache-2.0

package members

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
)

// A Sent has the addresses that a node has sent to some of its BGP peers: their routes are
// in the Adj-RIB-Out of an established session with each of the peers.
type Sent struct {
	Peers []string        // names
	Runs  [][2]netip.Addr // first and last address of each run, in order; a run stays within one /64
}

// maxRuns bounds the runs of one message. Further runs are left out, and count as not
// sent.
const maxRuns = 1 << 16

// errDisorder reports that the runs of a message are not in order.
var errDisorder = errors.New("runs out of order")

// The first byte of a block of runs.
const (
	block4 = 4 // IPv4
	block6 = 6 // the upper 8 bytes of IPv6 addresses follow
)

// appendSent writes each Sent: the number and the names of the peers, the number of blocks,
// and the blocks. A block has its kind, the number of its runs, and the runs. A run has its
// distance from the end of the previous one, and its length minus one.
func appendSent(b []byte, list []Sent) []byte {
	left := maxRuns
	for _, s := range list {
		b = binary.AppendUvarint(b, uint64(len(s.Peers)))
		for _, name := range s.Peers {
			b = appendName(b, name)
		}
		blocks := blocksOf(s.Runs[:min(left, len(s.Runs))])
		left -= min(left, len(s.Runs))
		b = binary.AppendUvarint(b, uint64(len(blocks)))
		for _, runs := range blocks {
			b = appendBlock(b, runs)
		}
	}
	return b
}

// blocksOf splits runs where the next are of another family, or of another /64.
func blocksOf(runs [][2]netip.Addr) (blocks [][][2]netip.Addr) {
	for len(runs) > 0 {
		n := 1
		for n < len(runs) && upper(runs[n][0]) == upper(runs[0][0]) {
			n++
		}
		blocks = append(blocks, runs[:n])
		runs = runs[n:]
	}
	return blocks
}

// upper returns the part that the addresses of a block have in common.
func upper(a netip.Addr) (u struct {
	is6   bool
	bytes [8]byte
}) {
	if a.Is6() {
		b := a.As16()
		u.is6, u.bytes = true, [8]byte(b[:8])
	}
	return u
}

// lower returns the rest of an address.
func lower(a netip.Addr) uint64 {
	if a.Is4() {
		b := a.As4()
		return uint64(binary.BigEndian.Uint32(b[:]))
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[8:])
}

func appendBlock(b []byte, runs [][2]netip.Addr) []byte {
	if u := upper(runs[0][0]); u.is6 {
		b = append(append(b, block6), u.bytes[:]...)
	} else {
		b = append(b, block4)
	}
	b = binary.AppendUvarint(b, uint64(len(runs)))
	var end uint64
	for _, run := range runs {
		first, last := lower(run[0]), lower(run[1])
		b = binary.AppendUvarint(b, first-end)
		b = binary.AppendUvarint(b, last-first)
		end = last
	}
	return b
}

// sent reads a list that appendSent has written, up to the end of the message.
func (r *reader) sent() (list []Sent) {
	left := uint64(maxRuns)
	for r.err == nil && len(r.rest) > 0 {
		var s Sent
		for range r.atMost(uint64(len(r.rest))) {
			s.Peers = append(s.Peers, r.name())
		}
		for range r.atMost(uint64(len(r.rest))) {
			runs := r.block(left)
			left -= uint64(len(runs))
			if n := len(s.Runs); n > 0 && len(runs) > 0 && !s.Runs[n-1][1].Less(runs[0][0]) {
				r.fail(errDisorder)
			}
			s.Runs = append(s.Runs, runs...)
		}
		list = append(list, s)
	}
	return list
}

// atMost reads a number that must not exceed a limit.
func (r *reader) atMost(limit uint64) uint64 {
	n := r.number()
	if n > limit {
		r.fail(fmt.Errorf("number %d above %d", n, limit))
		return 0
	}
	return n
}

func (r *reader) block(limit uint64) (runs [][2]netip.Addr) {
	kind := r.take(1)
	if kind == nil {
		return nil
	}
	highest := uint64(math.MaxUint32)
	var prefix [8]byte
	switch kind[0] {
	case block4:
	case block6:
		highest = math.MaxUint64
		copy(prefix[:], r.take(8)) // zero after an error
	default:
		r.fail(fmt.Errorf("block of kind %#x", kind[0]))
		return nil
	}
	address := func(low uint64) netip.Addr {
		if kind[0] == block4 {
			return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(low))))
		}
		return netip.AddrFrom16([16]byte(binary.BigEndian.AppendUint64(prefix[:], low)))
	}
	var end uint64
	for i := range r.atMost(limit) {
		gap, length := r.number(), r.number()
		if r.err != nil {
			return nil
		}
		first := end + gap
		last := first + length
		if first < end || last < first || last > highest || i > 0 && gap == 0 {
			r.fail(errDisorder)
			return nil
		}
		runs = append(runs, [2]netip.Addr{address(first), address(last)})
		end = last
	}
	return runs
}

// equalSent reports whether two lists are equal.
func equalSent(a, b []Sent) bool {
	return slices.EqualFunc(a, b, func(x, y Sent) bool { return slices.Equal(x.Runs, y.Runs) && slices.Equal(x.Peers, y.Peers) })
}
