// SPDX-License-Identifier: Apache-2.0

package frr_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/frr/conf"
)

// manyPrefixes returns wantedConf with n prefixes more.
func manyPrefixes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  network 10.%d.%d.%d/32 route-map herald-class-a\n", i>>16&255, i>>8&255, i&255)
	}
	return strings.Replace(wantedConf, "  network ", b.String()+"  network ", 1)
}

// BenchmarkApplyOne applies a configuration that has one prefix more, or one
// less, than the one before.
func BenchmarkApplyOne(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := startFRR(b)
			less := manyPrefixes(n)
			more := strings.Replace(less, "  network ", "  network 192.0.2.77/32 route-map herald-class-a\n  network ", 1)
			confs := [][]byte{[]byte(more), []byte(less)}
			a := frr.New(frr.Options{RunDir: f.dir, Timeout: time.Minute})
			if err := a.Apply(b.Context(), frr.PlainText([]byte(less))); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for i := range b.N {
				if err := a.Apply(b.Context(), frr.PlainText(confs[i%2])); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDiff compares configurations of 10,000 prefixes: two wanted ones of
// which one has a prefix more, and one that FRR printed in another order.
func BenchmarkDiff(b *testing.B) {
	const n = 10_000
	less := manyPrefixes(n)
	wanted := conf.Parse(less)
	for _, bb := range []struct {
		name    string
		running string
		want    int
	}{
		{"one", strings.Replace(less, "  network ", "  network 192.0.2.77/32 route-map herald-class-a\n  network ", 1), 1},
		{"reordered", reversed(less), 0},
		{"all", wantedConf, n},
	} {
		b.Run(bb.name, func(b *testing.B) {
			running := conf.Parse(bb.running)
			for b.Loop() {
				if got := len(conf.Diff(running, wanted)); got != bb.want {
					b.Fatalf("%d commands, want %d", got, bb.want)
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	text := manyPrefixes(10_000)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		conf.Parse(text)
	}
}

// reversed returns a text with its networks in reverse order.
func reversed(text string) string {
	head, rest, _ := strings.Cut(text, "  network ")
	networks, tail, _ := strings.Cut("  network "+rest, "  neighbor ")
	var b strings.Builder
	lines := strings.SplitAfter(networks, "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		b.WriteString(lines[i])
	}
	return head + b.String() + "  neighbor " + tail
}
