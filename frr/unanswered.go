// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"time"

	"github.com/heraldlb/herald/status"
)

// answerWait is how long a session may wait for the peer's OPEN until it is to be reset. It
// doubles with each reset, up to answerWaitMax, in case the peer is only slow. bgpd itself
// waits for the hold time, which may be minutes (RFC 4271, Section 8.2.2). If the peer has
// lost the connection, as after its own reset behind a filter, it never answers.
const (
	answerWait    = 15 * time.Second
	answerWaitMax = 4 * time.Minute
)

// openSent is bgpd's word for the state in which it waits for the peer's OPEN.
const openSent = "OpenSent"

// Unanswered finds sessions whose peer does not answer the OPEN. After a reset bgpd opens
// another connection. The zero value has seen no session. It is not safe for concurrent use.
type Unanswered struct {
	opens map[status.PeerID]opening // of sessions that waited for an OPEN, and have not come up since
}

// An opening is a session that waits for the peer's OPEN, or has.
type opening struct {
	sent  int           // the OPENs that bgpd had sent
	since time.Time     // of the first look that saw it wait; zero: it does not wait now
	wait  time.Duration // it is to be reset this long after since
}

// Next returns the peers whose sessions are to be reset now, given all sessions as they are
// now.
func (u *Unanswered) Next(sessions []Session, now time.Time) (reset []status.PeerID) {
	opens := make(map[status.PeerID]opening)
	for _, f := range sessions {
		o, known := u.opens[f.Peer]
		switch {
		case f.Up || !known && f.State != openSent:
			continue
		case f.State != openSent:
			o.since = time.Time{}
		case o.since.IsZero() || o.sent != f.OpensSent:
			o = opening{sent: f.OpensSent, since: now, wait: max(o.wait, answerWait)}
		case now.Sub(o.since) >= o.wait:
			o.since, o.wait = time.Time{}, min(2*o.wait, answerWaitMax)
			reset = append(reset, f.Peer)
		}
		opens[f.Peer] = o
	}
	u.opens = opens
	return reset
}
