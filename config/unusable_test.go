// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/heraldlb/herald/config"
)

// What is left of a range holds no address that no Service can have, and all
// others.
func TestUnusableAddresses(t *testing.T) {
	tests := []struct{ written, left string }{
		{"192.0.2.0/24", "192.0.2.0/24"},
		{"0.0.0.0/0", "0.0.0.1-126.255.255.255 128.0.0.0-223.255.255.255 240.0.0.0-255.255.255.254"},
		{"::/0", "::2-feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"126.255.255.255-128.0.0.0", "126.255.255.255/32 128.0.0.0/32"},
		{"223.255.255.255-224.0.0.0", "223.255.255.255/32"},
		{"239.255.255.255-240.0.0.0", "240.0.0.0/32"},
		{"255.255.255.254/31", "255.255.255.254/32"},
		{"::-::3", "::2/127"},
		{"fe00::/7", "fe00::/8"},
		{"127.0.0.1/32", ""},
		{"0.0.0.0/32", ""},
		{"::1/128", ""},
		{"ff02::1/128", ""},
	}
	for _, tt := range tests {
		cfg, err := config.Parse([]byte(`address-pools: [{name: p, protocol: bgp, addresses: ["` + tt.written + `"]}]`))
		if err != nil {
			t.Fatalf("%s: %v", tt.written, err)
		}
		var left []string
		for _, r := range cfg.Pools[0].Addresses {
			left = append(left, r.String())
		}
		if got := strings.Join(left, " "); got != tt.left {
			t.Errorf("of %s is left %q, want %q", tt.written, got, tt.left)
		}
		if left := tt.left == "192.0.2.0/24"; left != (len(cfg.Warnings()) == 1) { // that there are no peers
			t.Errorf("warnings of %s: %q", tt.written, cfg.Warnings())
		}
	}
}

func TestSubnetRouterAnycast(t *testing.T) {
	for addr, want := range map[string]bool{
		"fd00:1::": true, "2001:db8:0:5::": true, "fd00:1::1": false, "fd00:1::1:0:0:0": false, "10.0.0.0": false, "::ffff:10.0.0.0": false,
	} {
		if got := config.SubnetRouterAnycast(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: got %v, want %v", addr, got, want)
		}
	}
}
