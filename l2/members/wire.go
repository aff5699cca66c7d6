// SPDX-License-Identifier: Apache-2.0

package members

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Messages between agents, inside memberlist's own. Numbers are unsigned varints of
// encoding/binary. Names are preceded by their length.
//
//	record:  0x11 node epoch base, then until the end: kind seq payload
//	damping: 0x12 node milliseconds
//	ask:     0x13 node epoch seq: node asks what was sent, and has the answer seq
//	sent:    0x14 node epoch seq, then until the end the output of appendSent
//	keys:    0x15 node epoch seq, then until the end 8 bytes for each key that node accepts
//	watch:   0x16 node epoch seq: node watches the process of that epoch; seq 0: not any more
//	beat:    0x17 node epoch seq: the heartbeat of that number, or its news
//	missed:  0x18 node epoch seq watcher: watcher got no heartbeat after that number
//	lost:    0x19 node epoch seq: so did another one
//	faults:  0x1a node epoch base, then until the end: kind seq payload
//	version: 0x1b node epoch seq version: the agent of that epoch is of that version
//
// The upper half of the first byte is the version of the format: an agent
// ignores messages of a version that it does not know, so that two versions
// can run side by side during an upgrade.
const (
	recordMsg  = 0x11
	dampingMsg = 0x12
	askMsg     = 0x13
	sentMsg    = 0x14
	keysMsg    = 0x15
	watchMsg   = 0x16
	beatMsg    = 0x17
	missedMsg  = 0x18
	lostMsg    = 0x19
	faultsMsg  = 0x1a
	versionMsg = 0x1b
)

// Kinds of an item on the wire.
const (
	wireLeaving = 1
	wireHeld4   = 2  // payload: 4 bytes
	wireHeld6   = 3  // payload: 16 bytes
	wireIface   = 4  // payload: name
	wireStation = 5  // payload: 6 bytes
	wireFault4  = 6  // payload: 4 bytes, and 4 of the digest
	wireFault6  = 7  // payload: 16 bytes, and 4 of the digest
	wireOpen4   = 8  // as wireFault4: there is no verdict yet
	wireOpen6   = 9  // as wireFault6, likewise
	wireWhole   = 10 // payload: a number
	wireGone    = 0x80
)

// packetSize is the longest message that is sent in a packet, in bytes. It is below
// memberlist's 1400 minus its overhead.
const packetSize = 1000

// maxName bounds names from the wire, in bytes. Kubernetes allows 253.
const maxName = 255

var (
	errTruncated = errors.New("truncated message")
	errWrongKind = errors.New("item in a message of another kind")
)

// A message is a record, whole or in part, a notice that a node is damped, or of a kind.
type message struct {
	node   string
	record *record
	faults bool          // the record is one of faults
	damped time.Duration // from now on; in milliseconds on the wire

	kind       byte // askMsg or a later one, with what follows; 0: none of them
	epoch, seq uint64
	watcher    string
	version    string
	sent       []Sent
	prints     []fingerprint // of keys
	raw        string        // optional, to write: sent as appendSent writes it
}

func (m message) append(b []byte) []byte {
	if m.kind != 0 {
		b = appendName(append(b, m.kind), m.node)
		b = binary.AppendUvarint(binary.AppendUvarint(b, m.epoch), m.seq)
		switch m.kind {
		case keysMsg:
			for _, p := range m.prints {
				b = append(b, p[:]...)
			}
		case missedMsg:
			b = appendName(b, m.watcher)
		case versionMsg:
			b = appendName(b, m.version)
		case sentMsg:
			if m.raw == "" {
				return appendSent(b, m.sent)
			}
			return append(b, m.raw...)
		}
		return b
	}
	if m.record == nil {
		b = appendName(append(b, dampingMsg), m.node)
		return binary.AppendUvarint(b, uint64(max(m.damped, 0)/time.Millisecond))
	}
	b = appendHeader(b, m.recordKind(), m.node, m.record.epoch, m.record.base)
	for it, c := range m.record.items {
		b = appendItem(b, it, c)
	}
	return b
}

// recordKind returns the kind of a message with a record.
func (m message) recordKind() byte {
	if m.faults {
		return faultsMsg
	}
	return recordMsg
}

func appendHeader(b []byte, kind byte, node string, epoch, base uint64) []byte {
	b = appendName(append(b, kind), node)
	b = binary.AppendUvarint(b, epoch)
	return binary.AppendUvarint(b, base)
}

func appendItem(b []byte, it item, c change) []byte {
	var gone byte
	if c.gone {
		gone = wireGone
	}
	switch it.kind {
	case leaving:
		return binary.AppendUvarint(append(b, wireLeaving|gone), c.seq)
	case iface:
		return appendName(binary.AppendUvarint(append(b, wireIface|gone), c.seq), it.name)
	case station:
		return append(binary.AppendUvarint(append(b, wireStation|gone), c.seq), it.mac[:]...)
	case whole:
		return binary.AppendUvarint(binary.AppendUvarint(append(b, wireWhole|gone), c.seq), uint64(it.digest))
	}
	kind := byte(wireHeld4) // for IPv6 it is one more
	switch it.kind {
	case fault:
		kind = wireFault4
	case open:
		kind = wireOpen4
	}
	if !it.addr.Is4() {
		kind++
	}
	b = append(binary.AppendUvarint(append(b, kind|gone), c.seq), it.addr.AsSlice()...)
	if it.kind.ofFaults() {
		b = binary.BigEndian.AppendUint32(b, it.digest)
	}
	return b
}

func appendName(b []byte, name string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(name))), name...)
}

// packets returns messages with the changes of a node's record, each short enough for a
// packet.
func packets(kind byte, node string, epoch uint64, changes map[item]change) [][]byte {
	var out [][]byte
	header := appendHeader(nil, kind, node, epoch, 0)
	b := header
	for it, c := range changes {
		next := appendItem(nil, it, c)
		if len(b)+len(next) > packetSize && len(b) > len(header) {
			out = append(out, b)
			b = header
		}
		b = append(b[:len(b):len(b)], next...)
	}
	return append(out, b)
}

// parseMessage reads one message.
func parseMessage(b []byte) (message, error) {
	if len(b) == 0 {
		return message{}, errTruncated
	}
	r := reader{rest: b[1:]}
	m := message{node: r.name()}
	switch b[0] {
	case recordMsg, faultsMsg:
		m.faults = b[0] == faultsMsg
		m.record = &record{epoch: r.number(), base: r.number(), items: map[item]change{}}
		for r.err == nil && len(r.rest) > 0 {
			it, c := r.item()
			if it.kind.ofFaults() != m.faults && r.err == nil {
				r.fail(errWrongKind)
			}
			m.record.items[it] = c
			if m.faults && len(m.record.items) > 2*maxHeard { // what others remember, with what is over
				r.fail(errors.New("too many faults"))
			}
		}
	case dampingMsg:
		// The bound prevents an overflow, and is longer than any penalty.
		m.damped = time.Duration(min(r.number(), uint64(time.Hour/time.Millisecond))) * time.Millisecond
	case askMsg, sentMsg, watchMsg, beatMsg, missedMsg, lostMsg, versionMsg:
		m.kind, m.epoch, m.seq = b[0], r.number(), r.number()
		switch m.kind {
		case sentMsg:
			m.sent = r.sent()
		case missedMsg:
			m.watcher = r.name()
		case versionMsg:
			m.version = r.name()
		}
	case keysMsg:
		m.kind, m.epoch, m.seq = b[0], r.number(), r.number()
		for r.err == nil && len(r.rest) > 0 {
			if len(m.prints) == maxPrints {
				r.fail(errors.New("too many keys"))
			}
			var p fingerprint
			copy(p[:], r.take(len(p))) // zero after an error
			m.prints = append(m.prints, p)
		}
	default:
		return message{}, fmt.Errorf("message of kind %#x", b[0])
	}
	return m, r.err
}

// A reader takes values from the front of a message. After the first error it returns
// zeros.
type reader struct {
	rest []byte
	err  error
}

// fail ends reading; the first error stays.
func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.rest = nil
}

func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.fail(errTruncated)
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail(errTruncated)
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) name() string {
	n := r.number()
	if n > maxName {
		r.fail(fmt.Errorf("name of %d bytes", n))
		return ""
	}
	return string(r.take(int(n)))
}

func (r *reader) item() (item, change) {
	kind := r.take(1)[0]
	c := change{seq: r.number(), gone: kind&wireGone != 0}
	switch kind &^ wireGone {
	case wireLeaving:
		return item{kind: leaving}, c
	case wireIface:
		return item{kind: iface, name: r.name()}, c
	case wireStation:
		it := item{kind: station}
		copy(it.mac[:], r.take(len(it.mac))) // zero after an error
		return it, c
	case wireHeld4:
		addr, _ := netip.AddrFromSlice(r.take(4)) // zero after an error
		return item{kind: held, addr: addr}, c
	case wireHeld6:
		addr, _ := netip.AddrFromSlice(r.take(16))
		return item{kind: held, addr: addr.Unmap()}, c
	case wireWhole:
		return item{kind: whole, digest: uint32(r.atMost(maxFaults))}, c
	case wireFault4, wireFault6, wireOpen4, wireOpen6:
		is := kind &^ wireGone
		size := 4
		if is == wireFault6 || is == wireOpen6 {
			size = 16
		}
		addr, _ := netip.AddrFromSlice(r.take(size)) // zero after an error
		it := item{kind: fault, addr: addr.Unmap()}
		if is >= wireOpen4 {
			it.kind = open
		}
		if digest := r.take(4); digest != nil {
			it.digest = binary.BigEndian.Uint32(digest)
		}
		return it, c
	}
	r.fail(fmt.Errorf("item of kind %#x", kind))
	return item{}, c
}

// appendList adds m to a list of messages, each preceded by its length.
func appendList(b []byte, m message) []byte {
	one := m.append(nil)
	return append(binary.AppendUvarint(b, uint64(len(one))), one...)
}

// eachOf calls f for each message of a list.
func eachOf(list []byte, f func([]byte)) error {
	r := reader{rest: list}
	for len(r.rest) > 0 {
		n := r.number()
		if n > uint64(len(r.rest)) {
			return errTruncated
		}
		f(r.take(int(n)))
	}
	return r.err
}
