// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/heraldlb/herald/table"
)

// Each VRF has a queue of its own, and a route of its own that is processed.
func TestSamples(t *testing.T) {
	var e table.Editor[netip.Prefix, string]
	for prefix, class := range map[string]string{"192.0.2.1/32": "a", "198.51.100.1/32": "b", "203.0.113.1/32": "b", "2001:db8::1/128": "c"} {
		e.Set(netip.MustParsePrefix(prefix), class)
	}
	router := func(vrf string) string {
		return "router bgp 64512" + vrf + "\n address-family ipv4 unicast\n exit-address-family\n address-family ipv6 unicast\n exit-address-family\nexit\n"
	}
	w := newWanted(Text{
		Frame:    router("") + router(" vrf red") + router(" vrf blue") + router(" vrf empty"),
		Networks: e.Table(),
		VRFs:     map[string]map[string]bool{"": {"a": true, "b": true}, "red": {"b": true}, "blue": {"c": true}},
	}, nil, 1)
	var got []string
	for _, s := range w.samples() {
		got = append(got, s.process())
	}
	want := []string{"clear bgp prefix 192.0.2.1/32", "clear bgp vrf red prefix 198.51.100.1/32", "clear bgp vrf blue ipv6 unicast prefix 2001:db8::1/128"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("commands: %q, want %q", got, want)
	}
}

// While bgpd holds back routes it need not be asked, and what comes meanwhile does not make
// it wait longer.
func TestHolds(t *testing.T) {
	var d daemon
	start := time.Now()
	for _, step := range []struct {
		after time.Duration
		sent  bool // something is sent
		holds bool // before that
	}{
		{0, true, false},
		{30 * time.Millisecond, true, true},
		{49 * time.Millisecond, false, true},
		{50 * time.Millisecond, false, false},
		{60 * time.Millisecond, true, false},
		{100 * time.Millisecond, false, true},
	} {
		now := start.Add(step.after)
		if got := d.holds(now); got != step.holds {
			t.Errorf("after %v: holds %t, want %t", step.after, got, step.holds)
		}
		if step.sent {
			d.hold(now)
		}
	}
}
