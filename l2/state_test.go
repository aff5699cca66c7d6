// SPDX-License-Identifier: Apache-2.0

package l2_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/heraldlb/herald/l2"
)

func TestAnsweredOn(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.1")
	s := l2.State{Addresses: []l2.Address{
		{Addr: addr, Presences: []l2.Presence{
			{Interface: "eth0", Phase: l2.Announced}, {Interface: "eth1", Phase: l2.Probing}, {Interface: "eth2", Phase: l2.Quiet},
		}},
		{Addr: addr.Next()},
	}}
	if got := s.AnsweredOn(addr); !slices.Equal(got, []string{"eth0", "eth2"}) {
		t.Errorf("%s is answered on %v", addr, got)
	}
	for _, other := range []netip.Addr{addr.Prev(), addr.Next()} {
		if got := s.AnsweredOn(other); got != nil {
			t.Errorf("%s is answered on %v", other, got)
		}
	}
}
