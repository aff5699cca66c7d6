// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// nodeLimit is how long an agent that starts waits for a data plane that is healthy.
	nodeLimit = 5 * time.Second
	// bootLimit is how long it waits for that after the node has booted: kube-proxy may
	// start later than the agent.
	bootLimit = time.Minute
)

// A node is what is known of the data plane as a whole. It delays the first decisions of an
// agent, and nothing after that: rules that a data plane has written stay while it is away.
type node struct {
	until  time.Time // when the node counts as able to forward at the latest
	asked  time.Time // zero: not yet
	open   bool      // the node may announce
	opened time.Time // since when

	answers bool // something answers
	healthy bool
	detail  string // why it is not
}

// newNode returns the state of an agent that starts, on a node that booted so long ago.
func newNode(now time.Time, up time.Duration) node {
	return node{until: now.Add(max(nodeLimit, bootLimit-up)), detail: "the data plane was not asked yet"}
}

// due reports whether to ask.
func (n node) due(now time.Time) bool {
	if n.open {
		return now.Sub(n.asked) >= idle
	}
	return now.Sub(n.asked) >= quick
}

// next takes in an answer.
func (n node) next(a answer, now time.Time) node {
	n.asked, n.answers, n.healthy, n.detail = now, !a.silent, a.yes, a.why
	if !n.open && (a.yes || !now.Before(n.until)) {
		n.open, n.opened = true, now
	}
	return n
}

// uptime returns how long ago the node booted.
func uptime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return bootLimit // no kernel of today lacks this clock
	}
	return time.Duration(t.Nano())
}
