// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/heraldlb/herald/status"
)

// What is told of two families and two peers: only what is confirmed, in runs that
// stay within a /64.
func TestSentOf(t *testing.T) {
	r1, r2 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	peers := []status.Peer{{Name: "r1", Address: r1, Wanted: true}, {Name: "r2", Address: r2, Wanted: true}}
	var decisions []status.Decision
	for _, text := range []string{"192.0.2.3", "192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.5", "2001:db8::ffff:ffff:ffff:ffff", "2001:db8:0:1::", "192.0.2.6", "192.0.2.7"} {
		addr := netip.MustParseAddr(text)
		decisions = append(decisions, status.Decision{
			Addr: addr, Protocol: status.BGP, Announce: true, Peers: []string{"r1", "r2"},
			Routes: []netip.Prefix{netip.PrefixFrom(addr, addr.BitLen())},
		})
	}
	decisions = append(decisions, status.Decision{Addr: netip.MustParseAddr("192.0.2.4"), Protocol: status.Layer2, Announce: true})
	got := sentOf(decisions, peers, func(p netip.Prefix) []status.PeerID {
		switch p.Addr().String() {
		case "192.0.2.6":
			return nil
		case "192.0.2.7":
			return []status.PeerID{{Address: r2}}
		}
		return []status.PeerID{{Address: r1}, {Address: r2}}
	})
	var lines []string
	for _, s := range got {
		var runs []string
		for _, run := range s.Runs {
			runs = append(runs, run[0].String()+"-"+run[1].String())
		}
		lines = append(lines, strings.Join(s.Peers, "+")+" "+strings.Join(runs, " "))
	}
	want := "r1+r2 192.0.2.1-192.0.2.3 192.0.2.5-192.0.2.5 2001:db8::ffff:ffff:ffff:ffff-2001:db8::ffff:ffff:ffff:ffff 2001:db8:0:1::-2001:db8:0:1::\n" +
		"r2 192.0.2.7-192.0.2.7"
	if text := strings.Join(lines, "\n"); text != want {
		t.Errorf("got:\n%s\nwant:\n%s", text, want)
	}
	for text, want := range map[string]bool{"192.0.2.0": false, "192.0.2.1": true, "192.0.2.2": true, "192.0.2.3": true, "192.0.2.4": false, "192.0.2.5": true, "192.0.2.6": false, "2001:db8:0:1::": true, "2001:db8:0:1::1": false} {
		if in := got[0].Contains(netip.MustParseAddr(text)); in != want {
			t.Errorf("%s is in: %v, want %v", text, in, want)
		}
	}
}
