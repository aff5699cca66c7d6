// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/frr/conf"
	"github.com/heraldlb/herald/table"
)

// twoRouters returns a text with routers in two VRFs, of which one has no IPv6. Networks of
// class b are in both.
func twoRouters(networks table.Table[netip.Prefix, string]) Text {
	text := func(with bool) string {
		lines := func(vrf string, is4 bool) string {
			var b strings.Builder
			for p, class := range networks.All() {
				if with && p.Addr().Is4() == is4 && (vrf == "" || class == "b") {
					fmt.Fprintf(&b, "  network %s route-map %s\n", p, class)
				}
			}
			return b.String()
		}
		return "router bgp 1\n address-family ipv4 unicast\n" + lines("", true) + "  neighbor 192.0.2.1 activate\n" +
			" address-family ipv6 unicast\n" + lines("", false) + "  neighbor 192.0.2.1 activate\n" +
			"router bgp 1 vrf red\n address-family ipv4 unicast\n" + lines("red", true) + "  neighbor 192.0.2.2 activate\n"
	}
	return Text{
		Frame: text(false), Networks: networks, Whole: func() []byte { return []byte(text(true)) },
		VRFs: map[string]map[string]bool{"": {"a": true, "b": true}, "red": {"b": true}},
	}
}

// The commands for networks that are apart are those that follow from the whole texts.
func TestSince(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	var networks table.Editor[netip.Prefix, string]
	before := newWanted(twoRouters(networks.Table()), nil, 1)
	total := 0
	for step := range 200 {
		for range r.IntN(6) {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(r.IntN(20))}), 32)
			if r.IntN(3) == 0 {
				p = netip.MustParsePrefix(fmt.Sprintf("2001:db8::%d/128", r.IntN(20)))
			}
			if r.IntN(3) == 0 {
				networks.Delete(p)
			} else {
				networks.Set(p, []string{"a", "b"}[r.IntN(2)])
			}
		}
		now := newWanted(twoRouters(networks.Table()), before, uint64(step+2))
		for _, daemon := range conf.Daemons {
			got, ok := now.since(before, daemon)
			if !ok {
				t.Fatalf("step %d: it cannot be told", step)
			}
			want := conf.Diff(before.parts()[daemon], now.parts()[daemon])
			if diff := cmp.Diff(shown(want), shown(got)); diff != "" {
				t.Fatalf("step %d, %s (-whole +apart):\n%s", step, daemon, diff)
			}
			total += len(got)
		}
		before = now
	}
	if total < 300 {
		t.Errorf("%d commands: too few", total)
	}
	other := twoRouters(networks.Table())
	other.Frame += "hostname n2\n"
	if _, ok := newWanted(other, before, 0).since(before, conf.BGPD); ok {
		t.Error("another frame is taken for the same")
	}
}

func shown(commands []conf.Command) (out []string) {
	for _, c := range commands {
		out = append(out, fmt.Sprint(c.String(), c.Adds(), c.Exec))
	}
	return out
}
