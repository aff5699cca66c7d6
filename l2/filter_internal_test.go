// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"bytes"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
	"golang.org/x/net/bpf"
)

func TestFilters(t *testing.T) {
	request := arpFrame(broadcast, arp.OperationRequest, other, asker4, MAC{}, ours4)
	solicitation := ndpProbe(other, ours6)
	edit := func(frame []byte, offset int, b byte) []byte {
		f := bytes.Clone(frame)
		f[offset] = b
		return f
	}
	rows := []struct {
		name     string
		protocol Protocol
		frame    []byte
		want     bool
	}{
		{"ARP request", ARP, request, true},
		{"ARP reply", ARP, arpAnnouncements(other, ours4)[1], true},
		{"reverse ARP", ARP, edit(request, 21, 3), false},
		{"ARP of another medium", ARP, edit(request, 15, 6), false},
		{"ARP with long addresses", ARP, edit(request, 18, 8), false},
		{"ARP cut short", ARP, request[:20], false},
		{"solicitation", NDP, solicitation, true},
		{"advertisement", NDP, ndpAnnouncement(other, asker6, ours6), true},
		{"router solicitation", NDP, ndpFrame(own, other, neighborPacket{asker6, ownLL, &ndp.RouterSolicitation{}}), false},
		{"TCP", NDP, edit(solicitation, 20, 6), false},
		{"from beyond a router", NDP, edit(solicitation, 21, 64), false},
		{"IPv6 cut short", NDP, solicitation[:50], false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			vm, err := bpf.NewVM(filters[row.protocol])
			if err != nil {
				t.Fatal(err)
			}
			n, err := vm.Run(row.frame)
			if err != nil {
				t.Fatal(err)
			}
			if got := n > 0; got != row.want {
				t.Errorf("passes: %t, want %t", got, row.want)
			}
		})
	}
	for p := range protocols {
		if _, err := assemble(p); err != nil {
			t.Error(err)
		}
	}
}
