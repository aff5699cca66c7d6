// SPDX-License-Identifier: Apache-2.0

package announce_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"testing"

	"github.com/heraldlb/herald/announce"
)

// These owners are known to agents that run: another result is another
// protocol.
func TestOwnerIsForEver(t *testing.T) {
	nodes := []string{"n1", "n2", "n3"}
	tests := []struct {
		key  string
		want string
	}{
		{"192.0.2.1", "n1"},
		{"192.0.2.2", "n2"},
		{"192.0.2.3", "n1"},
		{"192.0.2.8", "n3"},
		{"2001:db8::1", "n1"},
	}
	for _, tt := range tests {
		t.Run(tt.key, func(t *testing.T) {
			if got := announce.Owner(tt.key, nodes); got != tt.want {
				t.Errorf("owner %s, want %s", got, tt.want)
			}
		})
	}
	if got := announce.Owner("192.0.2.1", nil); got != "" {
		t.Errorf("%q owns without candidates", got)
	}
}

func TestOwnersAreSpread(t *testing.T) {
	for _, nodes := range []int{3, 10} {
		t.Run(strconv.Itoa(nodes), func(t *testing.T) {
			const addresses = 500
			names := nodeNames(nodes)
			count := map[string]int{}
			// 192.168.10.0 and on, as of one pool.
			addr := netip.MustParseAddr("192.168.10.0")
			for range addresses {
				count[announce.Owner(addr.String(), names)]++
				addr = addr.Next()
			}
			even := float64(addresses) / float64(nodes)
			for _, n := range names {
				if math.Abs(float64(count[n])-even) > 0.2*even {
					t.Errorf("%s owns %d of %d, even were %.0f", n, count[n], addresses, even)
				}
			}
			t.Logf("owned: %v", count)
		})
	}
}

// TestOwnersMoveLittle takes candidates away in random clusters: only what they
// owned moves. The order of the candidates does not matter.
func TestOwnersMoveLittle(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		names := nodeNames(2 + r.IntN(12))
		gone := names[r.IntN(len(names))]
		rest := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == gone })
		shuffled := slices.Clone(names)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		moved := 0
		for i := range 200 {
			key := netip.AddrFrom4([4]byte{10, byte(seed), 0, byte(i)}).String()
			before, after := announce.Owner(key, names), announce.Owner(key, rest)
			if other := announce.Owner(key, shuffled); other != before {
				t.Fatalf("%s: owner %s, or %s in another order", key, before, other)
			}
			if before == gone {
				moved++
			} else if after != before {
				t.Fatalf("%s moved from %s to %s when %s went", key, before, after, gone)
			}
		}
		if moved == 0 {
			t.Errorf("seed %d: %s owned nothing", seed, gone)
		}
	}
}

func nodeNames(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("node-%02d.example", i)
	}
	return out
}
