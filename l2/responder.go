// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"net/netip"
	"sync/atomic"
)

// A view is what a responder knows. It is never changed, but replaced as a whole.
type view struct {
	mac       MAC
	linkLocal netip.Addr
	roles     map[netip.Addr]*role // the addresses of the interface
}

// A role is how a responder treats requests for an address.
type role struct {
	silent  atomic.Bool // they are not answered
	standby atomic.Bool // nor by this node, unless nobody else does
	askers  askers      // the responder's goroutine owns it
	count   *counters
}

// counters count the packets about one address, on all interfaces.
type counters struct {
	requests, replies, gratuitous atomic.Uint64
}

// A claim is the statement of a host, in a packet, that it has an address.
type claim struct {
	addr netip.Addr
	mac  MAC
	asks bool // the host only probes whether the address is free

	answers bool // the packet was sent to this host alone: it answers a question
	forged  bool // the frame came from another hardware address: it proves nothing
}

// A verdict is the decision on a received frame.
type verdict struct {
	drop  Drop
	reply []byte // nil unless drop is Answered
	role  *role  // of the requested address, if the request is answered
	claim claim  // on an address of the interface; zero: none
}

// A responder answers for addresses on one port.
type responder struct {
	protocol Protocol
	link     int // index
	port     Port
	view     atomic.Pointer[view]
}

// answer decides how to treat a frame.
func (r *responder) answer(frame []byte) verdict {
	if r.protocol == ARP {
		return r.view.Load().answerARP(frame)
	}
	return r.view.Load().answerNDP(frame)
}

// maxFrame is the length up to which a frame is read. ARP and neighbor discovery packets
// are far shorter. One with more options is dropped as malformed.
const maxFrame = 1 << 11

// receive answers the frames of the port until reading fails, and returns that error.
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
