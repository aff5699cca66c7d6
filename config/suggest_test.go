// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"testing"

	"github.com/heraldlb/herald/config"
)

func TestDidYouMean(t *testing.T) {
	tests := []struct {
		name  string
		known []string
		want  string
	}{
		{"wam", []string{"lan", "wan"}, "; did you mean wan?"},
		{"wan-Pool", []string{"lan", "wan_pool"}, "; did you mean wan_pool?"},
		{"reservation", []string{"quota", "reservations"}, "; did you mean reservations?"},
		{"production", []string{"staging", "test"}, ""},
		{"p3", []string{"p1", "p2"}, ""},
		{"rack-17", []string{"rack-1", "rack-2"}, ""},
		{"c", []string{"a", "b"}, ""},
		{"WEB", []string{"web"}, "; did you mean web?"},
		{"web", nil, ""},
	}
	for _, tt := range tests {
		if got := config.DidYouMean(tt.name, tt.known); got != tt.want {
			t.Errorf("DidYouMean(%q, %q) = %q, want %q", tt.name, tt.known, got, tt.want)
		}
	}
}
