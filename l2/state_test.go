// SPDX-License-Identifier: Apache-2.0

package l2_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/heraldlb/herald/l2"
)

func TestAnsweredOn(t *testing.T) {
	a := l2.Address{Addr: netip.MustParseAddr("192.0.2.1"), Presences: []l2.Presence{
		{Interface: "eth0", Phase: l2.Announced}, {Interface: "eth1", Phase: l2.Probing}, {Interface: "eth2", Phase: l2.Quiet},
	}}
	if got := a.AnsweredOn(); !slices.Equal(got, []string{"eth0", "eth2"}) {
		t.Errorf("it is answered on %v", got)
	}
	if got := (&l2.Address{}).AnsweredOn(); got != nil {
		t.Errorf("an address without an interface is answered on %v", got)
	}
}
