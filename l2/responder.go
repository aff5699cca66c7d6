// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"net/netip"
	"sync/atomic"
)

// A view is what a responder knows while it looks at one frame. It is never
// changed: another one takes its place.
type view struct {
	mac       MAC
	linkLocal netip.Addr
	roles     map[netip.Addr]*role // the addresses of the interface
}

// A role says what to do when an address is asked for.
type role struct {
	silent atomic.Bool // it is being probed for, or another host has it
	count  *counters
}

// counters count the packets about one address, on all interfaces.
type counters struct {
	requests, replies, gratuitous atomic.Uint64
}

// A claim is what a host says by a packet: that it has an address.
type claim struct {
	addr netip.Addr
	mac  MAC
	asks bool // that it is about to have it, and asks whether anybody has
}

// A verdict is what becomes of a received frame.
type verdict struct {
	drop  Drop
	reply []byte // nil unless drop is Answered
	role  *role  // of the address that was asked for, if the request is answered
	claim claim  // zero if the frame makes none on an address of the interface
}

// A responder answers for addresses on one port.
type responder struct {
	protocol Protocol
	link     int // index
	port     Port
	view     atomic.Pointer[view]
}

// answer decides what becomes of a frame.
func (r *responder) answer(frame []byte) verdict {
	if r.protocol == ARP {
		return r.view.Load().answerARP(frame)
	}
	return r.view.Load().answerNDP(frame)
}

// maxFrame is how much of a frame is read. ARP and neighbor discovery packets
// are far smaller; one with more options than this is refused as malformed.
const maxFrame = 1 << 11

// receive answers what arrives on the port until reading fails, and returns
// that error.
func (a *Announcer) receive(r *responder) error {
	buf := make([]byte, maxFrame)
	for {
		n, err := r.port.Read(buf)
		if err != nil {
			return err
		}
		v := r.answer(buf[:n])
		if v.role != nil {
			v.role.count.requests.Add(1)
			if a.opts.Mute() {
				v.drop = Muted
			} else if _, err := r.port.Write(v.reply); err != nil {
				v.drop = SendFailed
			} else {
				v.role.count.replies.Add(1)
			}
		}
		a.requests[v.drop].Add(1)
		if v.claim != (claim{}) {
			a.claimed(r.link, v.claim)
		}
	}
}
