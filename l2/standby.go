// SPDX-License-Identifier: Apache-2.0

package l2

import "time"

const (
	// A host that got no answer asks again after a second: RFC 4861, Section 10
	// (RETRANS_TIMER), and what hosts do for ARP. A question that follows another of the
	// same host sooner or later than this says nothing about answers.
	againAfter  = 600 * time.Millisecond
	againBefore = 2500 * time.Millisecond

	// maxAskers bounds the hosts that are remembered for one address.
	maxAskers = 256
)

// askers are the hosts that have asked for an address, and when last.
type askers map[MAC]time.Time

// again notes that a host asks, and reports whether nobody seems to have answered the
// question before.
func (a *askers) again(host MAC, now time.Time) bool {
	last, asked := (*a)[host]
	if *a == nil || !asked && len(*a) == maxAskers {
		*a = askers{}
	}
	(*a)[host] = now
	wait := now.Sub(last)
	return asked && wait >= againAfter && wait <= againBefore
}

// stepsIn reports whether a node on standby answers a question: one that was sent to it
// alone, or that a host repeats because nobody has answered it.
func (r *role) stepsIn(asker MAC, alone bool) bool {
	return r.standby.Load() && (r.askers.again(asker, time.Now()) || alone)
}
