// SPDX-License-Identifier: Apache-2.0

package render_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/render"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/table"
)

// A Printer's whole text is that of FRR, and its parts are the parts of that.
func TestPrinter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	id := func(i int, vrf string) status.PeerID {
		return status.PeerID{Address: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), VRF: vrf}
	}
	frame := render.Config{Hostname: "n1", ASN: 64512, VRFs: []render.VRF{{Name: "red", ASN: 64512}}}
	for i, vrf := range []string{"", "", "red"} {
		frame.Neighbors = append(frame.Neighbors, render.Neighbor{Address: id(i, vrf).Address, VRF: vrf, ASN: 64513, DualStack: true})
	}
	var classes []*render.Class
	for i := range 6 {
		c := &render.Class{}
		for n, vrf := range []string{"", "", "red"} {
			if (i+1)>>n&1 == 1 {
				c.Attributes = append(c.Attributes, render.Attributes{Neighbor: id(n, vrf), LocalPref: uint32(i % 2)})
			}
		}
		classes = append(classes, c)
	}
	again := *classes[0]
	classes = append(classes, &again) // equal to another one
	var p render.Printer
	var networks table.Editor[netip.Prefix, *render.Class]
	frames := map[string]bool{}
	for step := range 200 {
		for range r.IntN(4) {
			prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(r.IntN(8))}), 32)
			if r.IntN(3) == 0 {
				prefix = netip.MustParsePrefix(fmt.Sprintf("2001:db8::%d/128", r.IntN(4)))
			}
			if r.IntN(2) == 0 {
				networks.Delete(prefix)
			} else {
				networks.Set(prefix, classes[r.IntN(len(classes))])
			}
		}
		if r.IntN(10) == 0 {
			frame.Hostname = fmt.Sprintf("n%d", r.IntN(3))
		}
		bad := r.IntN(20) == 0
		now := networks.Table()
		if bad {
			e := now.Edit()
			e.Set(netip.MustParsePrefix("198.51.100.1/24"), classes[1])
			now = e.Table()
		}
		got, err := p.Print(frame, now)
		c := frame
		c.Classes, c.Networks = render.List(now)
		want, wantErr := render.FRR(c)
		if (err != nil) != (wantErr != nil) || err != nil && err.Error() != wantErr.Error() {
			t.Fatalf("step %d: error %v, want %v", step, err, wantErr)
		}
		if err != nil {
			continue
		}
		if diff := cmp.Diff(string(want), string(got.Whole())); diff != "" {
			t.Fatalf("step %d: text (-want +got):\n%s", step, diff)
		}
		var rest strings.Builder
		lines := map[string]int{}
		for line := range strings.Lines(string(want)) {
			if strings.HasPrefix(line, "  network ") {
				lines[strings.TrimSpace(line)]++
			} else {
				rest.WriteString(line)
			}
		}
		if diff := cmp.Diff(rest.String(), got.Frame); diff != "" {
			t.Fatalf("step %d: frame (-want +got):\n%s", step, diff)
		}
		frames[got.Frame] = true
		apart := map[string]int{}
		for prefix, name := range got.Networks.All() {
			for _, in := range got.VRFs {
				if in[name] {
					apart[fmt.Sprintf("network %s route-map %s", prefix, name)]++
				}
			}
		}
		if diff := cmp.Diff(lines, apart); diff != "" {
			t.Fatalf("step %d: networks (-want +got):\n%s", step, diff)
		}
	}
	if len(frames) < 20 || len(frames) > 199 {
		t.Errorf("%d different frames", len(frames))
	}
}
