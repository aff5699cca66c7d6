// SPDX-License-Identifier: Apache-2.0

package conf_test

import (
	"testing"

	"github.com/heraldlb/herald/frr/conf"
)

func TestUses(t *testing.T) {
	const bgp = "frr defaults traditional\nhostname bfd\nlog stdout\nrouter bgp 64512 vrf bfd\n neighbor bfd peer-group\n neighbor 10.0.0.1 remote-as 64513\n" +
		" neighbor 10.0.0.1 description ip route bfd\n neighbor 10.0.0.1 password bfd\nexit\nroute-map bfd permit 10\nexit\nip router-id 10.0.0.9\n" +
		"ip prefix-list route seq 5 permit any\nip nht resolve-via-default\n"
	for _, tt := range []struct {
		name, text  string
		bfd, static bool
	}{
		{"nothing", "", false, false},
		{"comments", "! bfd\n#bfd\n ! ip route 10.0.0.0/8 blackhole\n!\n", false, false},
		{"BGP alone", bgp, false, false},
		{"a profile", bgp + "bfd\n profile fast\n exit\nexit\n", true, false},
		{"a neighbor", "router bgp 64512\n neighbor 10.0.0.1 bfd\n", true, false},
		{"a neighbor with a profile", "router bgp 64512\n neighbor eth1 bfd profile fast\n", true, false},
		{"a short form", "router bgp 64512\n nei 10.0.0.1 bf\n", true, false},
		{"tabs and carriage returns", "bfd\r\n\tpeer 10.0.0.1\r\n", true, false},
		{"what is debugged", "debug bfd network\n", true, false},
		{"a static route", bgp + "ip route 10.0.0.0/8 blackhole\n", false, true},
		{"one of IPv6, short", "ipv6 rou 2001:db8::/32 Null0\n", false, true},
		{"one in a VRF", "vrf red\n ip route 10.0.0.0/8 10.1.0.1\nexit-vrf\n", false, true},
		{"one with BFD", "ip route 10.0.0.0/8 10.1.0.1 bfd\n", true, true},
		{"a multicast route", "ip mroute 10.0.0.0/8 eth0\n", false, true},
		{"segment routing", "segment-routing\n srv6\n  static-sids\n", false, true},
		{"removed", "no ip route 10.0.0.0/8 blackhole\nno bfd\n", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if bfd, static := conf.Uses(tt.text, conf.BFDD), conf.Uses(tt.text, conf.Staticd); bfd != tt.bfd || static != tt.static {
				t.Errorf("for bfdd %v, for staticd %v, want %v and %v", bfd, static, tt.bfd, tt.static)
			}
		})
	}
}
