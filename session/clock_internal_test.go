// SPDX-License-Identifier: Apache-2.0

package session

import (
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/status"
)

// set returns a time as the clock shows it after it was set, by whole seconds. The reading
// of the monotonic clock is as it was.
func set(t time.Time, by time.Duration) time.Time {
	// The seconds of a time with both are above the 30 bits of its nanoseconds.
	wall := (*uint64)(unsafe.Pointer(&t))
	*wall += uint64(by/time.Second) << 30
	return t
}

// A clock that is set restarts no session, however often it is, and other looks do not
// change when a session came up.
func TestClockSet(t *testing.T) {
	peer := status.PeerID{Address: netip.MustParseAddr("10.0.0.1")}
	wanted := map[status.PeerID]status.Peer{peer: {Name: "tor", Wanted: true}}
	start := time.Now()
	h := newHistory(start)
	var s summary
	var last status.Session
	var news int
	look1 := func(after, by time.Duration) (since time.Time) {
		t.Helper()
		at := set(start.Add(after), by)
		if at.Sub(start) != after {
			t.Fatal("the monotonic clock was set, too")
		}
		up := frr.Session{Peer: peer, State: "Established", Up: true, Uptime: after - 10*time.Second}
		last = steady(last, sessionOf(up, at))
		l := look{at, true, map[status.PeerID]status.Session{peer: last}}
		events, _ := h.next(l, wanted)
		for _, e := range events {
			if after > 20*time.Second {
				t.Errorf("after %v, the clock being set by %v: event %+v", after, by, e)
			}
		}
		if _, published := s.next(l, wanted); published {
			news++
		}
		return last.Since
	}
	first := look1(15*time.Second, 0)
	if again := look1(25*time.Second+700*time.Millisecond, 0); again != first {
		t.Errorf("the session is up since %v, and was since %v", again, first)
	}
	for i, by := range []time.Duration{time.Hour, -time.Hour, 0} {
		after := 30*time.Second + time.Duration(i)*10*time.Second
		if now := look1(after, by); now.Round(0).Sub(first.Round(0)) != by {
			t.Errorf("the clock is set by %v, and the session is up since %v, before since %v", by, now, first)
		}
	}
	if news != 1 {
		t.Errorf("it was published %d times, want once", news)
	}
}
