// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// message returns a message of a type.
func message(kind byte, body ...byte) []byte {
	m := append(slices.Repeat([]byte{0xff}, 16), 0, byte(19+len(body)), kind)
	return append(m, body...)
}

// ip returns a packet from a TCP port.
func ip(port uint16, payload []byte) []byte {
	p := make([]byte, 40)
	p[0], p[9], p[32] = 0x45, 6, 5<<4
	binary.BigEndian.PutUint16(p[2:], uint16(40+len(payload)))
	binary.BigEndian.PutUint16(p[20:], port)
	return append(append(p, payload...), 0, 0) // padding of the frame
}

func TestUpdateWatch(t *testing.T) {
	stream := slices.Concat(
		message(4), // KEEPALIVE
		message(2, 0, 5, 32, 192, 0, 2, 1, 0, 0),
		message(2, 0, 0, 0, 2, 0x40, 1, 32, 192, 0, 2, 2, 24, 198, 51, 100),
		message(2, 0, 0, 0, 0, 32, 192, 0, 2, 3)[:25], // goes on elsewhere
	)
	w := &UpdateWatch{seen: map[netip.Prefix][]update{}}
	now := time.Now()
	w.record(now, bgpPayload(ip(179, stream)))
	w.record(now, bgpPayload(ip(180, message(2, 0, 0, 0, 0, 32, 192, 0, 2, 4))))
	if got, want := fmt.Sprint(w.seen[netip.MustParsePrefix("192.0.2.1/32")]), fmt.Sprint([]update{{now, true}}); got != want {
		t.Errorf("withdrawn: %s, want %s", got, want)
	}
	for _, text := range []string{"192.0.2.2/32", "198.51.100.0/24"} {
		p := netip.MustParsePrefix(text)
		if !w.First(p, now, false).Equal(now) || !w.First(p, now, true).IsZero() || !w.First(p, now.Add(1), false).IsZero() {
			t.Errorf("%s: %+v", p, w.seen[p])
		}
	}
	if len(w.seen) != 3 || w.Seen(netip.MustParsePrefix("192.0.2.3/32")) || !w.Seen(netip.MustParsePrefix("192.0.2.1/32")) {
		t.Errorf("seen: %v", w.seen)
	}
}

// No packet, however cut, does harm.
func TestUpdateWatchCut(t *testing.T) {
	whole := ip(179, message(2, 0, 5, 32, 192, 0, 2, 1, 0, 2, 0x40, 1, 32, 192, 0, 2, 2))
	for n := range whole {
		updatePrefixes(bgpPayload(whole[:n]))
		for b := range 256 {
			changed := slices.Clone(whole)
			changed[n] = byte(b)
			updatePrefixes(bgpPayload(changed))
		}
	}
}
