// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"net/netip"
	"testing"
	"time"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
)

// A neighbor that gets the route of an address also for another Service, as with an aggregate,
// goes on getting it. The hand-over of the first Service ends once, and does not begin again.
func TestPartingsEnd(t *testing.T) {
	prefix, tor := netip.MustParsePrefix("192.0.2.0/24"), status.PeerID{Address: netip.MustParseAddr("10.0.0.1")}
	addr := netip.MustParseAddr("192.0.2.7")
	class := &render.Class{Attributes: []render.Attributes{{Neighbor: tor}}}
	for _, confirmed := range []bool{true, false} {
		var p partings
		now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		all := map[netip.Addr][]announce.Part{addr: {{Prefix: prefix, Neighbor: tor, Peer: "tor", Succession: announce.Succession{Due: true, Confirmed: confirmed}}}}
		step := func() parted {
			return p.step(all, func(netip.Prefix) *render.Class { return class }, now, DefaultTimes)
		}
		kept, givenUp := 0, 0
		for range 1000 {
			out := step()
			kept, givenUp = kept+len(out.parts), givenUp+len(out.givenUp)
			now = now.Add(time.Second)
		}
		wantKept, wantGivenUp := 1, 0 // Follow is a second
		if !confirmed {
			wantKept, wantGivenUp = 300, 1
		}
		if kept != wantKept || givenUp != wantGivenUp {
			t.Errorf("confirmed %t: kept in %d passes, given up %d times, want %d and %d", confirmed, kept, givenUp, wantKept, wantGivenUp)
		}
		// Without cause it is forgotten, and begins again with the next one.
		was := all
		all = nil
		step()
		if all = was; len(step().parts) != 1 {
			t.Errorf("confirmed %t: the next time the neighbor is not kept", confirmed)
		}
	}
}
