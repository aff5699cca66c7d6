// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"math/big"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heraldlb/herald/config"
)

func TestRange(t *testing.T) {
	tests := []struct {
		name, text string
		want       string   // of String
		size       string   // in decimal
		prefixes   []string // nil means one, as String has it
	}{
		{"CIDR", "192.0.2.0/24", "192.0.2.0/24", "256", nil},
		{"host bits", "192.0.2.77/24", "192.0.2.0/24", "256", nil},
		{"one address", "192.0.2.1/32", "192.0.2.1/32", "1", nil},
		{"spaces", " 192.0.2.0 - 192.0.2.255 ", "192.0.2.0/24", "256", nil},
		{"one address as a range", "192.0.2.1-192.0.2.1", "192.0.2.1/32", "1", nil},
		{"all of IPv4", "0.0.0.0/0", "0.0.0.0/0", "4294967296", nil},
		{"all of IPv6", "::/0", "::/0", "340282366920938463463374607431768211456", nil},
		{"all of IPv6 but the first", "::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
			"::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "340282366920938463463374607431768211455", nil},
		{"end of IPv4", "255.255.255.254-255.255.255.255", "255.255.255.254/31", "2", nil},
		{"IPv4 in IPv6 notation", "::ffff:192.0.2.0/120", "192.0.2.0/24", "256", nil},
		{"range of both notations", "::ffff:192.0.2.3-192.0.2.5", "192.0.2.3-192.0.2.5", "3",
			[]string{"192.0.2.3/32", "192.0.2.4/31"}},
		{"not aligned", "192.0.2.1-192.0.2.9", "192.0.2.1-192.0.2.9", "9",
			[]string{"192.0.2.1/32", "192.0.2.2/31", "192.0.2.4/30", "192.0.2.8/31"}},
		{"IPv6", "2001:db8::fffe-2001:db8::1:1", "2001:db8::fffe-2001:db8::1:1", "4",
			[]string{"2001:db8::fffe/127", "2001:db8::1:0/127"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := config.ParseRange(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.String(); got != tt.want {
				t.Errorf("String: want %s, got %s", tt.want, got)
			}
			if got := r.Size().String(); got != tt.size {
				t.Errorf("Size: want %s, got %s", tt.size, got)
			}
			if tt.prefixes == nil {
				return
			}
			var got []string
			for _, p := range r.Prefixes() {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(tt.prefixes, got); diff != "" {
				t.Errorf("Prefixes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRangeContains(t *testing.T) {
	r := mustRange(t, "192.0.2.10-192.0.2.20")
	for addr, want := range map[string]bool{
		"192.0.2.9": false, "192.0.2.10": true, "192.0.2.15": true, "192.0.2.20": true, "192.0.2.21": false,
		"::ffff:192.0.2.15": false, "2001:db8::1": false,
	} {
		if got := r.Contains(netip.MustParseAddr(addr)); got != want {
			t.Errorf("Contains(%s): want %t", addr, want)
		}
	}
	if mustRange(t, "::/0").Contains(netip.MustParseAddr("192.0.2.1")) {
		t.Error("IPv6 contains IPv4")
	}
}

func TestRangeOverlaps(t *testing.T) {
	tests := []struct {
		name, a, b string
		want       bool
	}{
		{"equal", "192.0.2.0/24", "192.0.2.0/24", true},
		{"inside", "192.0.2.0/24", "192.0.2.7/32", true},
		{"one address", "192.0.2.1-192.0.2.5", "192.0.2.5-192.0.2.9", true},
		{"adjacent", "192.0.2.1-192.0.2.5", "192.0.2.6-192.0.2.9", false},
		{"families", "0.0.0.0/0", "::/0", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := mustRange(t, tt.a), mustRange(t, tt.b)
			if a.Overlaps(b) != tt.want || b.Overlaps(a) != tt.want {
				t.Errorf("want %t, got %t and %t", tt.want, a.Overlaps(b), b.Overlaps(a))
			}
		})
	}
}

func mustRange(t *testing.T, s string) config.Range {
	t.Helper()
	r, err := config.ParseRange(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// FuzzParseRange checks that a range survives its own text, and that its
// prefixes are in order, adjacent, and together as many as it.
func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"192.0.2.0/24", "192.0.2.3-192.0.2.77", "::1-2001:db8::", "::ffff:0.0.0.0/96", "0.0.0.0/0", "::/0", "-", "/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := config.ParseRange(s)
		if err != nil {
			return
		}
		if again, err := config.ParseRange(r.String()); err != nil || again != r {
			t.Fatalf("%q is %v, which is %v (%v)", s, r, again, err)
		}
		sum, next := new(big.Int), r.First
		for _, p := range r.Prefixes() {
			if p != p.Masked() || p.Addr() != next {
				t.Fatalf("%v: prefix %v, want one from %v", r, p, next)
			}
			block := mustRange(t, p.String())
			sum.Add(sum, block.Size())
			next = block.Last.Next()
		}
		if sum.Cmp(r.Size()) != 0 {
			t.Fatalf("%v: prefixes have %v addresses, want %v", r, sum, r.Size())
		}
	})
}
