// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	gocmp "cmp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/config"
)

func TestCommunity(t *testing.T) {
	tests := []struct {
		text  string
		large bool
		want  string // of String
	}{
		{"64600:1", false, "64600:1"},
		{"0:0", false, "0:0"},
		{"65535:65535", false, "65535:65535"},
		{"007:1", false, "7:1"},
		{"large:4294967295:0:1", true, "4294967295:0:1"},
	}
	for _, tt := range tests {
		c, err := config.ParseCommunity(tt.text)
		if err != nil {
			t.Error(err)
			continue
		}
		if c.IsLarge() != tt.large || c.String() != tt.want {
			t.Errorf("%s: got %v, large %t", tt.text, c, c.IsLarge())
		}
		text, err := c.MarshalText()
		if err != nil {
			t.Error(err)
		}
		if again, err := config.ParseCommunity(string(text)); err != nil || again != c {
			t.Errorf("%s marshals to %s, which is %v (%v)", tt.text, text, again, err)
		}
	}
}

func TestCommunityCompare(t *testing.T) {
	want := []string{"0:1", "1:0", "1:2", "65535:0", "large:0:0:0", "large:0:0:1", "large:0:1:0", "large:1:0:0"}
	var all []config.Community
	for _, s := range want {
		c, err := config.ParseCommunity(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append([]config.Community{c}, all...)
	}
	slices.SortFunc(all, config.Community.Compare)
	for i, c := range all {
		for j, d := range all {
			if got := c.Compare(d); got != gocmp.Compare(i, j) {
				t.Errorf("%v compared to %v: got %d", c, d, got)
			}
		}
	}
	var got []string
	for _, c := range all {
		text, _ := c.MarshalText()
		got = append(got, string(text))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}
