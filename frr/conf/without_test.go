// SPDX-License-Identifier: Apache-2.0

package conf_test

import (
	"testing"

	"github.com/heraldlb/herald/frr/conf"
)

func TestWithout(t *testing.T) {
	const running = `hostname n1
ip prefix-list operators seq 5 permit 198.51.100.0/24
router bgp 64512
 neighbor 192.0.2.1 remote-as 64513
 neighbor 192.0.2.1 description rack 7
 address-family ipv4 unicast
  neighbor 192.0.2.1 soft-reconfiguration inbound
 exit-address-family
exit
router bgp 64512 vrf red
 neighbor 192.0.2.9 remote-as 64513
exit
`
	tests := []struct{ name, other, keep, want string }{
		{"nothing", "", "", running},
		{"a line", "hostname n1\n", "", "ip prefix-list operators seq 5 permit 198.51.100.0/24\n" + running[len("hostname n1\nip prefix-list operators seq 5 permit 198.51.100.0/24\n"):]},
		{
			"lines in contexts, of which others stay",
			"router bgp 64512\n neighbor 192.0.2.1 description rack 7\n address-family ipv4 unicast\n  neighbor 192.0.2.1 soft-reconfiguration inbound\n",
			"",
			"hostname n1\nip prefix-list operators seq 5 permit 198.51.100.0/24\nrouter bgp 64512\n neighbor 192.0.2.1 remote-as 64513\nrouter bgp 64512 vrf red\n neighbor 192.0.2.9 remote-as 64513\n",
		},
		{
			"a context with its last line", "router bgp 64512 vrf red\n neighbor 192.0.2.9 remote-as 64513\n", "",
			running[:len(running)-len("router bgp 64512 vrf red\n neighbor 192.0.2.9 remote-as 64513\nexit\n")],
		},
		{"what both want", running, running, running},
		{
			"what one of two wants", "router bgp 64512\n neighbor 192.0.2.1 remote-as 64513\n neighbor 192.0.2.1 description rack 7\n",
			"router bgp 64512\n neighbor 192.0.2.1 remote-as 64513\n",
			"hostname n1\nip prefix-list operators seq 5 permit 198.51.100.0/24\nrouter bgp 64512\n neighbor 192.0.2.1 remote-as 64513\n address-family ipv4 unicast\n  neighbor 192.0.2.1 soft-reconfiguration inbound\nrouter bgp 64512 vrf red\n neighbor 192.0.2.9 remote-as 64513\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := conf.Parse(running).Without(conf.Parse(tt.other), conf.Parse(tt.keep)).String()
			if want := conf.Parse(tt.want).String(); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}
