// SPDX-License-Identifier: Apache-2.0

package members

import (
	"net/netip"
	"strings"
	"testing"
)

func TestPeers(t *testing.T) {
	addr := netip.MustParseAddr
	n := newNodes()
	n.list = []Node{
		{"n1", []netip.Addr{addr("10.0.0.1")}},
		{"n2", []netip.Addr{addr("fd00::2"), addr("10.0.0.2"), addr("10.1.0.2")}},
		{"n3", []netip.Addr{addr("fd00::3")}},
		{"n4", nil},
	}
	for _, tt := range []struct{ bind, want string }{{"10.0.0.1:7946", "10.0.0.2:7946"}, {"[fd00::1]:9", "[fd00::2]:9 [fd00::3]:9"}} {
		var got []string
		for _, p := range n.peers("n1", netip.MustParseAddrPort(tt.bind)) {
			got = append(got, p.String())
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("peers of %s: %v, want %s", tt.bind, got, tt.want)
		}
	}
}
