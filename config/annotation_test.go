// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"strings"
	"testing"

	"github.com/heraldlb/herald/config"
)

func TestUnknownAnnotations(t *testing.T) {
	long := "metallb.io/" + strings.Repeat("x", 300)
	tests := []struct {
		kind string
		keys string
		want string
	}{
		{config.KindService, "metallb.io/address-pool metallb.universe.tf/allow-shared-ip metallb.io/ip-allocated-from-pool example.com/address-pol", ""},
		{config.KindService, "metallb.io/adress-pool", "metallb.io/adress-pool is no annotation of MetalLB or Herald; did you mean metallb.io/address-pool?"},
		{config.KindService, "heraldlb.io/address-pool", "heraldlb.io/address-pool is no annotation of MetalLB or Herald; did you mean metallb.io/address-pool?"},
		{config.KindService, "metallb.universe.tf/L2Advertisement", "metallb.universe.tf/L2Advertisement is no annotation of MetalLB or Herald"},
		{config.KindService, "heraldlb.io/drain", "heraldlb.io/drain has no meaning on kind Service, it is for kind Node"},
		{config.KindNode, "heraldlb.io/Drain", "heraldlb.io/Drain is no annotation of MetalLB or Herald; did you mean heraldlb.io/drain?"},
		{config.KindPool, "heraldlb.io/quota heraldlb.io/reservation", "heraldlb.io/reservation is no annotation of MetalLB or Herald; did you mean heraldlb.io/reservations?"},
		{config.KindPeer, "metallb.io/zzz", "metallb.io/zzz is no annotation of MetalLB or Herald"},
		{config.KindPeer, "metallb.io/d metallb.io/b metallb.io/c metallb.io/a metallb.io/e", "metallb.io/a is no annotation of MetalLB or Herald; metallb.io/b is no annotation of MetalLB or Herald; metallb.io/c is no annotation of MetalLB or Herald; and 2 more"},
		{config.KindPeer, long, long[:100] + "... is no annotation of MetalLB or Herald"},
	}
	for _, tt := range tests {
		all := map[string]string{}
		for key := range strings.FieldsSeq(tt.keys) {
			all[key] = "x"
		}
		if got := config.UnknownAnnotations(tt.kind, all); got != tt.want {
			t.Errorf("%s with %s: %q, want %q", tt.kind, tt.keys, got, tt.want)
		}
		// What is read of an object says the same.
		if got := config.UnknownAnnotations(tt.kind, config.ReadAnnotations(tt.kind, all)); got != tt.want {
			t.Errorf("%s with %s, as read: %q, want %q", tt.kind, tt.keys, got, tt.want)
		}
	}
}
