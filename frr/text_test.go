// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/table"
)

// apartFrame is a text. An X stands for the networks of each family.
const apartFrame = `hostname n1
route-map herald-class-a permit 10
 set tag 1
exit
route-map herald-class-b permit 10
 set tag 2
exit
router bgp 64512
 neighbor 192.0.2.1 remote-as 64513
 !
 address-family ipv4 unicast
X4
  neighbor 192.0.2.1 activate
 exit-address-family
 !
 address-family ipv6 unicast
X6
  neighbor 192.0.2.1 activate
 exit-address-family
exit
`

// apartText returns a text with networks.
func apartText(networks table.Table[netip.Prefix, string], hostname string) frr.Text {
	frame := strings.Replace(apartFrame, "n1", hostname, 1)
	whole := frame
	for mark, is4 := range map[string]bool{"X4\n": true, "X6\n": false} {
		var lines strings.Builder
		for p, class := range networks.All() {
			if p.Addr().Is4() == is4 {
				fmt.Fprintf(&lines, "  network %s route-map %s\n", p, class)
			}
		}
		whole = strings.Replace(whole, mark, lines.String(), 1)
		frame = strings.Replace(frame, mark, "", 1)
	}
	return frr.Text{
		Frame: frame, Networks: networks, VRFs: map[string]map[string]bool{"": {"herald-class-a": true, "herald-class-b": true}},
		Whole: func() []byte { return []byte(whole) },
	}
}

// A change of networks that are apart sends FRR what a change of the whole text does.
func TestTextApart(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	apart, plain := startFRR(t), startFRR(t)
	a, b := frr.New(frr.Options{RunDir: apart.dir, Timeout: time.Minute}), frr.New(frr.Options{RunDir: plain.dir, Timeout: time.Minute})
	var networks table.Editor[netip.Prefix, string]
	hostname, total := "n1", 0
	for step := range 60 {
		for range r.IntN(6) {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(r.IntN(20))}), 32)
			if r.IntN(3) == 0 {
				p = netip.MustParsePrefix(fmt.Sprintf("2001:db8::%d/128", r.IntN(20)))
			}
			if r.IntN(3) == 0 {
				networks.Delete(p)
			} else {
				networks.Set(p, []string{"herald-class-a", "herald-class-b"}[r.IntN(2)])
			}
		}
		if step%20 == 19 {
			hostname += "x"
		}
		text := apartText(networks.Table(), hostname)
		if err := a.Apply(t.Context(), text); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		if err := b.Apply(t.Context(), frr.PlainText(text.Whole())); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		apart.inForce(t, string(text.Whole()))
		commands := apart.sent()
		total += len(commands)
		if diff := cmp.Diff(plain.sent(), commands); diff != "" {
			t.Fatalf("step %d: commands (-whole +apart):\n%s", step, diff)
		}
	}
	if total < 200 {
		t.Errorf("%d commands were sent: too few", total)
	}
}

// BenchmarkApplyNetwork changes one of 10,000 networks that are apart.
func BenchmarkApplyNetwork(b *testing.B) {
	f := startFRR(b)
	a := frr.New(frr.Options{RunDir: f.dir, Timeout: time.Minute})
	var networks table.Editor[netip.Prefix, string]
	for i := range 10_000 {
		networks.Set(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32), "herald-class-a")
	}
	if err := a.Apply(b.Context(), apartText(networks.Table(), "n1")); err != nil {
		b.Fatal(err)
	}
	text := apartText(networks.Table(), "n1")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}), 32)
		if !networks.Delete(p) {
			networks.Set(p, "herald-class-a")
		}
		text.Networks = networks.Table()
		if err := a.Apply(b.Context(), text); err != nil {
			b.Fatal(err)
		}
	}
}
